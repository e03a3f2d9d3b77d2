"""Our whole models for the reference's of MaX-DeepLab, and what they compute."""

import torch
from golden_networks import Golden
from names import official_names
from small_models import small_model
from torch import Tensor, nn

from d2_psformer.modeling.meta_arch import MaXDeepLab
from d2_psformer.modeling.pixel_decoder import ASPPDecoder

_NODE = "MODEL.MAX_DEEPLAB"
S = {
    "MODEL.META_ARCHITECTURE": "MaXDeepLab",
    "MODEL.BACKBONE.NAME": "MaXDeepLabBackbone",
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": 128,
    "MODEL.TRANSFORMER_DECODER.HEADS": 8,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": 2048,
    "MODEL.PIXEL_DECODER.DIM": 256,
    "MODEL.PIXEL_DECODER.MASK_DIM": 128,
    "MODEL.POSTPROCESSING.MERGING": "max_deeplab",
}
L = S | {
    f"{_NODE}.VARIANT": "L",
    f"{_NODE}.DECODER_STACKS": 2,
    f"{_NODE}.TRANSFORMER_STAGES": [4, 5],
    f"{_NODE}.TRANSFORMER_WIDTH": 256,
    f"{_NODE}.MEMORY_DIM": 512,
    f"{_NODE}.FEATURE_DIM": 512,
}
# File of the reference -> the variant that it is of.
FILES = {"max_deeplab_tiny_s": "S", "max_deeplab_tiny_l": "L", "max_deeplab_s_real_width": "S"}


def names_of(model: nn.Module, golden: Golden, variant: str) -> dict[str, str]:
    """Our names of parameters and statistics -> deeplab2's."""
    prefix = "DeepLab/" if next(iter(golden.shapes)).startswith("DeepLab/") else ""
    return official_names(model.state_dict(), variant, prefix)


def golden_model(golden: Golden, variant: str) -> MaXDeepLab:
    """Our model with the reference's weights, in evaluation mode."""
    head = next(v for k, v in golden.shapes.items() if k.endswith("class_head/conv/kernel"))
    classes = range(1), range(1, head[-1] - 1)
    options = S if variant == "S" else L
    if "kwargs" not in golden.config:
        model = small_model(*classes, **options)
    else:
        model = small_model(*classes, **options | _tiny(golden))
        if variant == "S":
            model.semantic_head.decoder = _tiny_decoder(golden)
    return golden.fill(model, names_of(model, golden, variant))


def _tiny(golden: Golden) -> dict:
    """The widths of a tiny model."""
    c = golden.config["kwargs"]
    layer = c["block_group_config"]["dual_path_transformer_layer_config"]
    pixels = golden.shapes["MaXDeepLab/pixel_space_head/final_conv/kernel"]
    return {
        f"{_NODE}.WIDTH": c["width_multiplier"],
        f"{_NODE}.STEM_WIDTH": c["stem_width_multiplier"],
        f"{_NODE}.TRANSFORMER_WIDTH": round(128 * c["base_transformer_expansion"]),
        f"{_NODE}.MEMORY_DIM": c["memory_channels"],
        f"{_NODE}.FEATURE_DIM": c["global_feed_forward_network_channels"],
        "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": c["num_mask_slots"],
        "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": layer["feed_forward_network_channels"],
        "MODEL.PIXEL_DECODER.DIM": pixels[-2],
        "MODEL.PIXEL_DECODER.MASK_DIM": pixels[-1],
    }


def _tiny_decoder(golden: Golden) -> ASPPDecoder:
    """Of channels that the config gives no other way."""
    node = "MaXDeepLab/auxiliary_semantic_decoder"
    coarse, channels = golden.shapes[f"{node}/aspp/conv_bn_act/conv/kernel"][2:]
    skips = [golden.shapes[f"{node}/low_level_conv{i}/conv/kernel"][2:] for i in (1, 2)]
    return ASPPDecoder(coarse, channels, skips)


def image(golden: Golden) -> Tensor:
    return golden.tensor("image").float() / 127.5 - 1


def outputs(model: MaXDeepLab, images: Tensor) -> dict[str, Tensor]:
    """Everything that training reads, by the reference's names; modules stay in their modes."""
    training, model.training = model.training, True
    result = model.predict(images)
    model.training = training
    queries = result.queries["queries"]
    return {
        "semantic_logits": result.pixel_logits[0],
        "pixel_space_normalized_feature": result.pixel_embedding,
        "pixel_space_mask_logits": queries.masks[0],
        "transformer_class_logits": queries.logits[0],
    }


@torch.no_grad()
def taps(model: MaXDeepLab, images: Tensor) -> dict[str, Tensor]:
    """Maps and memories inside, by the reference's names."""
    backbone, found = model.backbone, {}
    fine = [stage.name for stage in backbone.plan if stage.fused and stage.stride == 4]

    def keep(name: str):
        def hook(_, __, result: tuple[Tensor, Tensor]) -> None:
            x, memory = result
            found["memory_final"] = memory[..., 0].mT
            found[name] = x
            if name == "stage5":
                found["memory_after_stage5"] = memory[..., 0].mT
            if name in fine:
                found[f"high_resolution_output_{fine.index(name)}"] = x.relu()
            if "stage5_extra" not in found:
                found["backbone_output"] = x.relu()

        return hook

    hooks = [s.register_forward_hook(keep(name)) for name, s in backbone.stages.items()]
    hooks.append(backbone.stem.register_forward_hook(lambda _, __, x: found.update(stage1=x)))
    features = backbone(images)
    for hook in hooks:
        hook.remove()
    renamed = {"semantic": "feature_semantic", "panoptic": "feature_panoptic"}
    renamed |= {f"{kind}_memory": f"transformer_{kind}_feature" for kind in ("class", "mask")}
    return found | {renamed.get(name, name): x for name, x in features.items()}

"""Our layer for each case of layer_cases.npz of MaX-DeepLab's reference."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from golden_networks import Golden
from names import official_names
from torch import Tensor, nn

from d2_psformer.d2.layers import ShapeSpec
from d2_psformer.layers import AxialAttention, axial_attention, resize
from d2_psformer.modeling.backbone.dual_path import DualPathLayer, NormedAttention
from d2_psformer.modeling.backbone.max_deeplab_stages import VARIANTS
from d2_psformer.modeling.backbone.residual_blocks import (
    ResidualBlock,
    axial,
    basic,
    bottleneck,
    stem,
)
from d2_psformer.modeling.backbone.resized_fusion import ResizedProjection
from d2_psformer.modeling.meta_arch.max_deeplab_heads import (
    ClassHead,
    MaskHead,
    SemanticHead,
    pixel_head,
)
from d2_psformer.modeling.pixel_decoder import ASPPDecoder

_BLOCK = "stages.stage.blocks.0.", "max_deeplab_s/stage/block1/"
_BLOCK_OF_L = "stages.stage.blocks.0.", "max_deeplab_l/stage/block1/"
_LAYER = "stages.stage.transformers.0.", "max_deeplab_s/stage/block1_transformer/"


@dataclass
class Layer:
    """A layer with the place that its names come from.

    Attributes:
        place: where it stands in our model, and deeplab2's name of that place.
        run: the layer and the reference's inputs by name -> outputs by name; maps (B, C, H, W).
    """

    module: nn.Module
    place: tuple[str, str]
    run: Callable[..., dict[str, Tensor]] = lambda layer, x: {"y": layer(x)}

    def names(self, case: str, shapes: Mapping[str, list[int]]) -> dict[str, str]:
        """Our names -> deeplab2's of the variables that the case has."""
        keys, (ours, official) = self.module.state_dict(), self.place
        variant = "L" if official.startswith("max_deeplab_l/") else "S"
        names = official_names([ours + key for key in keys], variant)
        names = {k.removeprefix(ours): v.removeprefix(official) for k, v in names.items()}
        # a projection without queries, or with queries alone, has another name there
        for pattern in ("memory_query", "pixel_kv"):
            if any(f"/{pattern}_conv_bn" in name for name in shapes):
                whole = f"{pattern.partition('_')[0]}_qkv"
                names = {k: v.replace(whole, pattern) for k, v in names.items()}
        if any(name.startswith(f"{case}/") for name in shapes):
            names = {k: f"{case}/{v}" for k, v in names.items()}
        return {k: v for k, v in names.items() if v in shapes}


def axial1d(golden: Golden) -> Layer:
    """A row; terms that a case leaves out stay, with norms whose factors are 0."""
    c = golden.config
    layer = AxialAttention(
        golden.arrays["in/x"].shape[-1],
        c["total_key_depth"],
        c["total_value_depth"],
        "width",
        c["num_heads"],
    )
    place = f"{_BLOCK[0]}branch.attention.width.", f"{_BLOCK[1]}attention/width_axis/"
    return Layer(layer, place, lambda layer, x: {"y": layer(x.mT[:, :, None])[:, :, 0].mT})


def axial2d(golden: Golden) -> Layer:
    c = golden.config
    sizes = c["filters"] * c["key_expansion"], c["filters"] * c["value_expansion"]
    layer = axial_attention(golden.arrays["in/x"].shape[-1], *sizes, c["num_heads"])
    place = f"{_BLOCK[0]}branch.attention.", f"{_BLOCK[1]}attention/"
    return Layer(_strided(layer, c["strides"]), place)


def block(golden: Golden) -> Layer:
    c, inputs = golden.config, golden.arrays["in/x"].shape[-1]
    filters, stride = c["filters_list"], c.get("strides", 1)
    if "axial_layer_config" in c:
        branch = axial(inputs, filters[0], filters[2], c["axial_layer_config"]["num_heads"])
        branch.attention = _strided(branch.attention, stride)
    else:
        branch = (bottleneck if len(filters) == 3 else basic)(inputs, filters[-1], stride)
    if "atrous_rate" in c:
        rate = (c["atrous_rate"],) * 2
        branch.middle.conv.dilation = branch.middle.conv.padding = rate
    place = _BLOCK if len(filters) == 3 else _BLOCK_OF_L
    return Layer(ResidualBlock(inputs, filters[-1], branch, stride), place)


def _strided(attention: nn.Sequential, stride: int) -> nn.Sequential:
    """The official layer can leave out rows and columns, which no model makes use of."""
    return nn.Sequential(
        OrderedDict(
            height=attention.height,
            rows=nn.MaxPool2d(1, (stride, 1)),
            width=attention.width,
            columns=nn.MaxPool2d(1, (1, stride)),
        )
    )


def dual_path(golden: Golden) -> Layer:
    c = golden.config
    switches = {"p2m": "use_pixel2memory_feedback_attention", "m2m": "use_memory_self_attention"}
    paths = ("m2p", *(path for path, name in switches.items() if c.get(name, True)))
    layer = DualPathLayer(
        golden.arrays["in/pixel"].shape[-1],
        golden.arrays["in/memory"].shape[-1],
        c["filters"],
        dim_feedforward=c["feed_forward_network_channels"],
        heads=c["num_heads"],
        paths=paths,
    )

    def run(layer: DualPathLayer, pixel: Tensor, memory: Tensor) -> dict[str, Tensor]:
        pixel, memory = layer(pixel, memory.mT[..., None])
        return {"pixel": pixel, "memory": memory[..., 0].mT}

    return Layer(layer, _LAYER, run)


def attention_operation(golden: Golden) -> Layer:
    heads, depth = golden.arrays["in/v"].shape[2:]
    place = f"{_LAYER[0]}memory_attention.", f"{_LAYER[1]}memory_attention/"

    def run(layer: NormedAttention, q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
        q, k, v = (x.movedim(1, -1) for x in (q, k, v))  # they are no maps
        q, k, v = q.mT.flatten(1, 2), k.mT.flatten(1, 2), v.flatten(2).mT
        return {"y": layer(q[..., None], k, v)[..., 0].mT}

    return Layer(NormedAttention(heads * depth, heads), place, run)


def fuse(golden: Golden) -> Layer:
    """Maps with the channels of the result are resized alone."""
    c = golden.config
    size, layers = (c["height"], c["width"]), nn.ModuleDict()
    maps = [golden.tensor(key) for key in golden.arrays if key.startswith("in/")]
    for i, x in enumerate(maps, 1):
        if x.shape[1] != c["num_channels"]:
            halves = tuple((side + 1) // 2 for side in x.shape[2:]) == size
            kind = f"{'strided' if halves else 'resized'}_conv_bn{i}"
            layers[kind] = ResizedProjection(x.shape[1], c["num_channels"], 2 if halves else 1)
    by_index = {int(kind[-1]): layer for kind, layer in layers.items()}

    def run(_: nn.Module, **maps: Tensor) -> dict[str, Tensor]:
        named = enumerate(maps.values(), 1)
        return {"y": sum(by_index.get(i, resize)(x, size) for i, x in named)}

    return Layer(layers, ("", "max_deeplab_s/"), run)


def inception_stem(golden: Golden) -> Layer:
    widths = [round(x * golden.config["width_multiplier"]) for x in VARIANTS["S"].stem]
    return Layer(stem(widths), ("stem.", "max_deeplab_s/"))


def single_head(golden: Golden) -> Layer:
    c, inputs = golden.config, golden.arrays["in/x"].shape[-1]
    head = pixel_head(inputs, c["intermediate_channels"], c["output_channels"])
    return Layer(head, ("mask_head.pixel_head.", "MaXDeepLab/pixel_space_head/"))


def aux_semantic_decoder(golden: Golden) -> Layer:
    c = golden.config
    skips = [(golden.arrays[f"in/{name}"].shape[-1], reduced) for name, reduced in c["low_level"]]
    inputs = golden.arrays["in/feature_semantic"].shape[-1]

    def run(layer: ASPPDecoder, feature_semantic: Tensor, **finer: Tensor) -> dict[str, Tensor]:
        return {"y": layer(feature_semantic, [finer[name] for name, _ in c["low_level"]])}

    place = "semantic_head.decoder.", "MaXDeepLab/auxiliary_semantic_decoder/"
    return Layer(ASPPDecoder(inputs, c["decoder"], skips), place, run)


def max_deeplab_head(golden: Golden) -> Layer:
    """All heads, with the sizes of the reference's variables."""

    def channels(name: str) -> int:
        key = f"{name}/kernel"
        return next(shape[-1] for full, shape in golden.shapes.items() if full.endswith(key))

    features = {
        "semantic": ShapeSpec(channels=golden.arrays["in/feature_semantic"].shape[-1], stride=16),
        "res3": ShapeSpec(channels=golden.arrays["in/res3"].shape[-1], stride=8),
        "res2": ShapeSpec(channels=golden.arrays["in/res2"].shape[-1], stride=4),
    }
    dim = channels("pixel_space_head/conv_block/conv1_bn_act/pointwise/conv")
    memory = golden.arrays["in/transformer_mask_feature"].shape[-1]
    heads = nn.ModuleDict(
        {
            "mask_head": MaskHead(
                golden.arrays["in/feature_panoptic"].shape[-1],
                memory,
                dim,
                channels("pixel_space_head/final_conv"),
            ),
            "class_head": ClassHead(memory, channels("class_head/conv")),
            "semantic_head": SemanticHead(features, dim, channels("semantic_head/final_conv")),
        }
    )
    skips = [
        (features[f"res{3 - i}"].channels, channels(f"low_level_conv{i + 1}/conv"))
        for i in range(2)
    ]
    heads.semantic_head.decoder = ASPPDecoder(
        features["semantic"].channels, channels("aspp/conv_bn_act/conv"), skips
    )
    return Layer(heads, ("", ""), _run_heads)


def _run_heads(heads: nn.ModuleDict, **x: Tensor) -> dict[str, Tensor]:
    masks, pixels = heads.mask_head(x["feature_panoptic"], x["transformer_mask_feature"])
    maps = {"semantic": x["feature_semantic"], "res3": x["res3"], "res2": x["res2"]}
    return {
        "semantic_logits": heads.semantic_head(maps),
        "pixel_space_normalized_feature": pixels,
        "transformer_class_logits": heads.class_head(x["transformer_class_feature"]),
        "pixel_space_mask_logits": masks,
    }


# What the name of a case begins with -> how its layer is built.
BUILDERS = {
    "axial1d": axial1d,
    "axial2d": axial2d,
    "axial_block": block,
    "bottleneck": block,
    "basic": block,
    "dual_path": dual_path,
    "attention_operation": attention_operation,
    "fuse": fuse,
    "inception_stem": inception_stem,
    "single_head": single_head,
    "aux_semantic_decoder": aux_semantic_decoder,
    "max_deeplab_head": max_deeplab_head,
}

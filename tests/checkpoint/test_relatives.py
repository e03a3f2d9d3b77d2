"""Names of MaskFormer's and Mask2Former's checkpoints, of their authors and of transformers."""

import pytest
import torch

from d2_psformer.checkpoint import CONVERTERS, convert
from d2_psformer.utils.errors import UserError

PIXELS, PREDICTOR = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
RESNET = {
    "backbone.stem.conv1.weight": "backbone.body.conv1.weight",
    "backbone.stem.conv1.norm.weight": "backbone.body.bn1.weight",
    "backbone.res2.0.shortcut.weight": "backbone.body.layer1.0.downsample.0.weight",
    "backbone.res2.0.shortcut.norm.bias": "backbone.body.layer1.0.downsample.1.bias",
    "backbone.res5.2.conv3.norm.running_mean": "backbone.body.layer4.2.bn3.running_mean",
}
SWIN = {
    "backbone.layers.0.downsample.reduction.weight": (
        "backbone.body.layers_1.downsample.reduction.weight"
    ),
    "backbone.layers.2.blocks.5.attn.qkv.bias": "backbone.body.layers_2.blocks.5.attn.qkv.bias",
    "backbone.norm0.weight": "backbone.output_norms.0.weight",
    "backbone.norm3.bias": "backbone.output_norms.3.bias",
}
HEADS = {
    f"{PREDICTOR}.query_embed.weight": "transformer_decoder.query_embed.weight",
    f"{PREDICTOR}.class_embed.bias": "transformer_decoder.mask_heads.class_embed.bias",
    f"{PREDICTOR}.mask_embed.layers.2.weight": (
        "transformer_decoder.mask_heads.mask_embed.layers.2.weight"
    ),
}
ENCODER_LAYER = f"{PIXELS}.transformer.encoder.layers.5"
DETR_LAYER = f"{PREDICTOR}.transformer.decoder.layers.5"
# official name: ours; one of each rule
MASKFORMER = {
    **RESNET,
    **HEADS,
    f"{PIXELS}.adapter_1.weight": "pixel_decoder.fpn.steps.0.lateral.0.weight",
    f"{PIXELS}.layer_3.norm.bias": "pixel_decoder.fpn.steps.2.output.1.bias",
    f"{PIXELS}.layer_4.norm.weight": "pixel_decoder.fpn.coarsest.1.weight",
    f"{PIXELS}.mask_features.bias": "pixel_decoder.fpn.mask_features.bias",
    f"{PIXELS}.input_proj.weight": "pixel_decoder.input_projection.weight",
    f"{ENCODER_LAYER}.self_attn.in_proj_weight": "pixel_decoder.layers.5.self_attn.in_proj_weight",
    f"{ENCODER_LAYER}.norm2.bias": "pixel_decoder.layers.5.ffn.norm.bias",
    f"{DETR_LAYER}.multihead_attn.out_proj.bias": (
        "transformer_decoder.layers.5.cross_attn.out_proj.bias"
    ),
    f"{DETR_LAYER}.linear1.weight": "transformer_decoder.layers.5.ffn.linear1.weight",
    f"{DETR_LAYER}.norm2.weight": "transformer_decoder.layers.5.cross_norm.weight",
    f"{PREDICTOR}.transformer.decoder.norm.bias": "transformer_decoder.mask_heads.norm.bias",
}
MASKFORMER_SWIN = {
    **SWIN,
    f"{PREDICTOR}.input_proj.weight": "pixel_decoder.input_projection.weight",
}
PER_PIXEL = {
    f"{PIXELS}.layer_4.weight": "fpn.coarsest.0.weight",
    f"{PREDICTOR}.weight": "classifier.weight",
}
MASK2FORMER = {
    **SWIN,
    **HEADS,
    f"{PIXELS}.adapter_1.norm.weight": "pixel_decoder.steps.0.lateral.1.weight",
    f"{PIXELS}.layer_1.weight": "pixel_decoder.steps.0.output.0.weight",
    f"{PIXELS}.mask_features.weight": "pixel_decoder.mask_features.weight",
    f"{PIXELS}.input_proj.0.1.bias": (
        "pixel_decoder.encoder.input_projection.projections.2.1.bias"
    ),
    f"{ENCODER_LAYER}.self_attn.value_proj.bias": (
        "pixel_decoder.encoder.layers.5.self_attn.value_proj.bias"
    ),
    f"{ENCODER_LAYER}.linear2.weight": "pixel_decoder.encoder.layers.5.ffn.linear2.weight",
    f"{PREDICTOR}.transformer_self_attention_layers.8.norm.bias": (
        "transformer_decoder.layers.8.self_norm.bias"
    ),
    f"{PREDICTOR}.transformer_cross_attention_layers.8.multihead_attn.in_proj_bias": (
        "transformer_decoder.layers.8.cross_attn.in_proj_bias"
    ),
    f"{PREDICTOR}.transformer_ffn_layers.8.norm.weight": (
        "transformer_decoder.layers.8.ffn.norm.weight"
    ),
    f"{PREDICTOR}.decoder_norm.weight": "transformer_decoder.mask_heads.norm.weight",
    f"{PREDICTOR}.query_feat.weight": "transformer_decoder.query_feat.weight",
    f"{PREDICTOR}.level_embed.weight": "transformer_decoder.level_embed.weight",
}
LISTS = [
    ("maskformer", MASKFORMER),
    ("maskformer", MASKFORMER_SWIN),
    ("maskformer", PER_PIXEL),
    ("mask2former", MASK2FORMER),
]


def numbered(names) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([float(number)]) for number, name in enumerate(names)}


def older(name: str) -> str:
    """The name in the first versions of the official code."""
    return name.replace("pixel_decoder.", "").replace("query_feat", "static_query")


@pytest.mark.parametrize("release", [str, older], ids=["newest", "older"])
@pytest.mark.parametrize(("source", "names"), LISTS)
def test_official_names(source, names, release):
    weights = numbered([release(name) for name in names])
    converted = convert({**weights, "criterion.empty_weight": torch.ones(134)}, source)
    counts = {name for name in converted if name.endswith("num_batches_tracked")}
    assert {ours: int(converted[ours]) for ours in converted.keys() - counts} == {
        ours: number for number, ours in enumerate(names.values())
    }


def test_frozen_norms_get_a_count_of_batches():
    converted = convert(numbered(["backbone.stem.conv1.norm.running_var", *RESNET]), "maskformer")
    assert converted["backbone.body.bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize("heads", [8, 4, 2])
def test_levels_are_put_from_fine_to_coarse(heads):
    """There are 3 levels and 4 points; every number names its level, 0 the coarsest."""
    level = torch.arange(3.0)
    by_head = level[None, :, None].expand(heads, 3, 8)
    attention = f"{PIXELS}.transformer.encoder.layers.0.self_attn"
    converted = convert(
        {
            f"{PIXELS}.transformer.level_embed": level[:, None],
            f"{attention}.sampling_offsets.bias": by_head.flatten(),
            f"{attention}.attention_weights.weight": by_head[..., :4].flatten()[:, None],
        },
        "mask2former",
    )
    encoder = "pixel_decoder.encoder"
    attention = f"{encoder}.layers.0.self_attn"
    assert converted[f"{encoder}.level_embed"].flatten().tolist() == [2, 1, 0]
    offsets = converted[f"{attention}.sampling_offsets.bias"].view(heads, 3, 8)
    weights = converted[f"{attention}.attention_weights.weight"].view(heads, 3, 4)
    assert (offsets == level.flip(0)[:, None]).all() and (weights == level.flip(0)[:, None]).all()


def test_another_number_of_levels_is_refused():
    levels = {f"{PIXELS}.transformer.level_embed": torch.ones(2, 16)}
    with pytest.raises(UserError, match="has 2 levels, but the official code has 3"):
        convert(levels, "mask2former")


SIGNS = {
    "official": "bbox_head.query_embedding.weight",
    "maskformer": f"{PREDICTOR}.transformer.decoder.norm.weight",
    "mask2former": f"{PREDICTOR}.decoder_norm.weight",
    "hf-maskformer": "mask_embedder.0.0.weight",
    "hf-mask2former": "model.transformer_module.queries_features.weight",
    "deeplab2": "encoder/_stage5/_block1/_conv1_bn_act/_conv/kernel",
    "eomt": "network.q.weight",
    "hf-eomt": "upscale_block.block.0.conv1.weight",
}


@pytest.mark.parametrize("source", CONVERTERS)
@pytest.mark.parametrize("found", CONVERTERS)
def test_another_source_is_named(source, found):
    weights = {SIGNS[found]: torch.ones(1)}
    if source == found:
        assert len(convert(weights, source)) == 1
    else:
        with pytest.raises(UserError, match=f"source '{found}', not '{source}'.*--source {found}"):
            convert(weights, source)


@pytest.mark.parametrize(
    "name",
    [
        "x",
        f"{PIXELS}.adapter_5.weight",
        f"{PREDICTOR}.query_embedding.weight",
        "model.pixel_level_module.decoder.x.weight",
    ],
)
@pytest.mark.parametrize("source", CONVERTERS)
def test_an_unknown_name_is_named(source, name):
    with pytest.raises(UserError, match=f"'{name}' is no parameter of a"):
        convert({name: torch.ones(1), f"{PIXELS}.layer_1.weight": torch.ones(1)}, source)


def test_a_backbone_that_we_have_not_is_named():
    with pytest.raises(UserError, match="three convolutions in its stem"):
        convert(numbered([*RESNET, "backbone.stem.conv2.weight"]), "maskformer")

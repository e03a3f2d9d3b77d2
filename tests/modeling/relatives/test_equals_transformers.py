"""Networks with the weights of transformers' MaskFormer and Mask2Former compute the same."""

from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from small_models import image, small_model
from torch import nn

from d2_psformer.checkpoint import convert, read_checkpoint
from d2_psformer.utils.errors import UserError

transformers = pytest.importorskip("transformers")

CLASSES, QUERIES, DIM, FEED_FORWARD = 5, 12, 64, 96
OURS = {
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.PIXEL_DECODER.NUM_LEVELS": 3,
    "MODEL.PIXEL_DECODER.DIM": DIM,
    "MODEL.PIXEL_DECODER.MASK_DIM": DIM,
    "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD": FEED_FORWARD,
    "MODEL.PIXEL_DECODER.HEADS": 8,
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": QUERIES,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": FEED_FORWARD,
    "MODEL.TRANSFORMER_DECODER.HEADS": 8,
    "MODEL.SIZE_DIVISIBILITY": 0,
}
MASKFORMER = {
    "MODEL.META_ARCHITECTURE": "MaskFormer",
    "MODEL.PIXEL_DECODER.LAYERS": 0,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 3,
}
MASK2FORMER = {
    "MODEL.META_ARCHITECTURE": "Mask2Former",
    "MODEL.PIXEL_DECODER.LAYERS": 2,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 4,
}
RESNET, SWIN = "resnet26", "swin_tiny_patch4_window7_224"


def backbone_config(name: str):
    outputs = ["stage1", "stage2", "stage3", "stage4"]
    if name == RESNET:
        return transformers.ResNetConfig(depths=[2, 2, 2, 2], out_features=outputs)
    return transformers.SwinConfig(depths=[2, 2, 6, 2], out_features=outputs)


def make_maskformer(backbone: str) -> nn.Module:
    decoder = transformers.DetrConfig(
        num_queries=QUERIES,
        d_model=DIM,
        decoder_layers=3,
        decoder_ffn_dim=FEED_FORWARD,
        encoder_layers=0,
        use_timm_backbone=False,
        backbone_config=backbone_config(RESNET),
    )
    config = transformers.MaskFormerConfig(
        backbone_config=backbone_config(backbone),
        decoder_config=decoder,
        fpn_feature_size=DIM,
        mask_feature_size=DIM,
        num_labels=CLASSES,
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def make_mask2former(backbone: str) -> nn.Module:
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone_config(backbone),
        feature_size=DIM,
        mask_feature_size=DIM,
        hidden_dim=DIM,
        encoder_feedforward_dim=FEED_FORWARD,
        encoder_layers=2,
        dim_feedforward=FEED_FORWARD,
        decoder_layers=5,  # one more than there are
        num_queries=QUERIES,
        num_labels=CLASSES,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


CASES = {
    f"{source}, {backbone}": (source, make, options, backbone)
    for source, make, options in (
        ("hf-maskformer", make_maskformer, MASKFORMER),
        ("hf-mask2former", make_mask2former, MASK2FORMER),
    )
    for backbone in (RESNET, SWIN)
}
cases = pytest.mark.parametrize("case", CASES)


@torch.no_grad()
def shake(model: nn.Module) -> nn.Module:
    """Random numbers in place of zeros and ones, and statistics of batch norms.

    Queries lie far apart, as all give the same otherwise.
    """
    for name, parameter in model.named_parameters():
        scale = 2.0 if "queries" in name else 0.03
        parameter.add_(torch.randn_like(parameter) * scale)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.add_(torch.rand_like(buffer) * 0.1)
    return model


@cache
def theirs_and_ours(case: str) -> tuple[nn.Module, nn.Module]:
    source, make, options, backbone = CASES[case]
    torch.manual_seed(0)
    theirs = shake(make(backbone)).eval()
    ours = small_model(**OURS | options | {"MODEL.BACKBONE.TIMM_NAME": backbone}).eval()
    ours.load_state_dict(convert(theirs.state_dict(), source))
    return theirs, ours


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@cases
@pytest.mark.parametrize("sizes", [[(75, 101)], [(75, 101), (96, 67)]], ids=["odd", "padded"])
@torch.no_grad()
def test_classes_and_masks_of_every_layer_are_equal(case, sizes):
    """Neither network leaves the padding out.

    The last layer alone is compared for MaskFormer: transformers' intermediate outputs have no norm
    before their heads, other than the official ones.
    """
    theirs, ours = theirs_and_ours(case)
    batch = ours.normalizer([image(*size, seed=i) for i, size in enumerate(sizes)])
    mask = None if batch.padding is None else (~batch.padding).long()
    every_layer = case.startswith("hf-mask2former")
    expected = theirs(batch.tensor, pixel_mask=mask, output_auxiliary_logits=every_layer)
    layers = [*(expected.auxiliary_logits or []), expected]
    features = ours.pixel_decoder(ours.backbone(batch.tensor))
    found = ours.transformer_decoder(features, every_layer)
    assert len(layers) == (5 if every_layer else 1)
    for logits, masks, layer in zip(found.logits, found.masks, layers, strict=True):
        assert_close(logits, layer["class_queries_logits"])
        assert_close(masks, layer["masks_queries_logits"])
    last = ours.predict(batch.tensor).queries["queries"]
    for values, every in ((last.logits, found.logits), (last.masks, found.masks)):
        assert torch.equal(values[-1], every[-1])
        assert every[-1].std(1).mean() > 0.01 * every[-1].std(), "queries differ"


@cases
def test_saved_files(case, tmp_path):
    """Files have other names than models, those of earlier versions of transformers."""
    source = CASES[case][0]
    theirs, ours = theirs_and_ours(case)
    theirs.save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    expected = ours.state_dict()
    for name in ("model.safetensors", "pytorch_model.bin"):
        weights = convert(read_checkpoint(str(tmp_path / name))["model"], source)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in weights)


@cases
def test_the_other_architecture_is_named(case):
    source = CASES[case][0]
    other = next(s for s, *_ in CASES.values() if s != source)
    with pytest.raises(UserError, match=f"source '{source}', not '{other}'"):
        convert(theirs_and_ours(case)[0].state_dict(), other)


def test_a_damaged_file_is_named():
    theirs, _ = theirs_and_ours(next(iter(CASES)))
    weights = theirs.state_dict()
    key = next(key for key in weights if key.endswith("self_attn.k_proj.bias"))
    del weights[key]
    with pytest.raises(UserError, match=r"k_proj\.bias' is missing"):
        convert(weights, "hf-maskformer")

"""Other backbones through timm, with converted weights, against the official ones."""

import pytest
import torch

from d2_psformer.d2.modeling import build_backbone
from d2_psformer.modeling.pixel_decoder.input_projection import InputProjection


@pytest.fixture(
    scope="module",
    params=[("coco/psformer_R101_2x.yaml", "r101"), ("coco/psformer_PVTv2-B2_2x.yaml", "pvtv2_b2")],
    ids=["R101", "PVTv2-B2"],
)
def case(request, reference, golden_weights, golden_inputs, make_config, arrays):
    config, name = request.param
    backbone = build_backbone(make_config(config))
    channels = [shape.channels for shape in backbone.output_shape().values()]
    neck = InputProjection(channels, dim=256, num_levels=4)
    weights = golden_weights(name, "backbone.", "neck.")
    for part, prefix in ((backbone, "backbone."), (neck, "pixel_decoder.input_projection.")):
        mine = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        part.load_state_dict(mine)
    image = torch.from_numpy(golden_inputs.data["img"][:1, :, :197, :203])
    with torch.no_grad():
        features = backbone.eval()(image)
        levels = neck(list(features.values()))
    return features, levels, arrays(reference / f"backbone_{name}.npz")


def assert_near(ours: torch.Tensor, golden) -> None:
    golden = torch.from_numpy(golden)
    assert ours.shape == golden.shape
    assert (ours - golden).abs().max() <= 1e-4 * golden.abs().max()


def test_features_and_neck(case):
    features, levels, golden = case
    assert list(features) == ["res3", "res4", "res5"]
    for i, feature in enumerate(features.values()):
        assert_near(feature[:, ::16], golden[f"a/backbone{i}"])
    for i, level in enumerate(levels):
        assert_near(level[:, ::16], golden[f"a/neck{i}"])

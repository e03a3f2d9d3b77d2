"""Every stage of inference against the official implementation's numbers."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from d2_psformer.modeling.pixel_decoder import PixelFeatures
from d2_psformer.modeling.pixel_decoder.features import level_padding_masks


def assert_near(ours: torch.Tensor, golden: np.ndarray) -> None:
    """The official code itself moves by up to 1e-4 of the maximum between versions of torch."""
    golden = torch.from_numpy(golden)
    assert ours.shape == golden.shape
    assert (ours - golden).abs().max() <= 1e-4 * golden.abs().max()


def features_of_image(features: PixelFeatures, image: int) -> PixelFeatures:
    """Those of one image of the batch, as a batch of one."""
    one = slice(image, image + 1)
    padding = None if features.padding is None else features.padding[one]
    return replace(
        features,
        tokens=features.tokens[one],
        padding=padding,
        valid_ratios=features.valid_ratios[one],
    )


def assert_same_sums(ours: torch.Tensor, stats: np.ndarray) -> None:
    """mean, std, sum of magnitudes, minimum, maximum: they see what the slices leave out."""
    x = ours.double()
    sums = torch.stack([x.mean(), x.std(correction=0), x.abs().sum(), x.min(), x.max()])
    golden = torch.from_numpy(stats)
    scale = golden[3:].abs().max()
    assert ((sums[:2] - golden[:2]).abs() <= 1e-4 * scale).all()
    assert (sums[2] - golden[2]).abs() <= 1e-4 * golden[2]
    assert ((sums[3:] - golden[3:]).abs() <= 1e-4 * scale).all()


@torch.no_grad()
def run(model, samples: list[dict]) -> SimpleNamespace:
    images = model.normalizer([x["image"] for x in samples])
    features = model.backbone(images.tensor)
    memory = model.pixel_decoder(features, images.padding)
    queries = []  # after every layer of the location decoder
    hooks = [
        layer.register_forward_hook(lambda module, args, query: queries.append(query))
        for layer in model.location_decoder.layers
    ]
    _, located = model.location_decoder(memory)
    for hook in hooks:
        hook.remove()
    return SimpleNamespace(
        model=model,
        images=images,
        features=features,
        levels=model.pixel_decoder.input_projection(list(features.values())),
        memory=memory,
        queries=torch.stack(queries),
        logits=torch.stack(located.logits),
        boxes=torch.stack(located.boxes),
        stuff=model.stuff_decoder(memory),
        outputs=model.predict(images.tensor, images.padding),
    )


@pytest.fixture(scope="module", params=["single0", "single1", "batch"])
def case(request, reference, golden_r50, golden_inputs, arrays):
    """Our run and the golden arrays: each image alone, and both as one padded batch."""
    images = {"single0": [0], "single1": [1], "batch": [0, 1]}[request.param]
    samples = [golden_inputs.sample(image) for image in images]
    ours = run(golden_r50, samples)
    ours.samples, ours.inputs = samples, golden_inputs
    ours.golden = arrays(reference / f"a_infer_{request.param}.npz")
    ours.images_by_name = {f"img{place}": place for place in range(len(images))}
    return ours


def test_backbone_and_neck(case):
    for i, feature in enumerate(case.features.values()):
        assert_near(feature[:, ::64], case.golden[f"backbone{i}"])
        assert_same_sums(feature, case.golden[f"stats/backbone{i}"])
    for i, level in enumerate(case.levels):
        assert_near(level[:, ::16], case.golden[f"neck{i}"])


def test_padding_masks_and_positions(case):
    shapes = [tuple(x.shape[-2:]) for x in case.levels]
    assert [list(s) for s in shapes] == case.golden["hw_lvl"].tolist()
    padding = case.images.padding
    if padding is None:
        padding = torch.zeros_like(case.images.tensor[:, 0], dtype=torch.bool)
    for i, mask in enumerate(level_padding_masks(padding, shapes)):
        golden = torch.from_numpy(case.golden[f"padmask{i}"])
        assert torch.equal(mask, golden)
        assert_near(case.model.pixel_decoder.position(mask)[:, ::32], case.golden[f"pos{i}"])


def test_encoder_memory(case):
    memory = case.memory.tokens.transpose(0, 1)
    assert_near(memory[::4, :, ::4], case.golden["memory"])
    assert_same_sums(memory, case.golden["stats/memory"])


def test_locations_of_every_layer(case):
    queries = case.queries.transpose(1, 2)
    assert_near(queries[:, ::3, :, ::4], case.golden["dec_hs"])
    assert_near(case.logits[:, :, ::6], case.golden["cls_logits"])
    assert_near(case.logits[-1], case.golden["cls_logits_last"])
    assert_near(case.boxes, case.golden["boxes"])
    assert_same_sums(case.logits, case.golden["stats/cls_logits"])


def test_best_pairs(case):
    for name, image in case.images_by_name.items():
        logits = case.logits[-1, image]
        scores, pairs = logits.sigmoid().flatten().topk(100)
        golden = case.golden[f"{name}/top_boxes"]
        assert np.array_equal(pairs // 80, case.golden[f"{name}/top_index"])
        assert np.array_equal(pairs % 80, case.golden[f"{name}/top_labels"])
        assert_near(scores, golden[:, 4])


def test_thing_masks_of_every_block(case):
    for name, image in case.images_by_name.items():
        index = torch.from_numpy(case.golden[f"{name}/top_index"])
        chosen = case.queries[-1][image, index][None]
        memory = features_of_image(case.memory, image)
        with torch.no_grad():
            masks, queries = case.model.thing_mask_decoder(chosen, memory)
        for block, mask in enumerate(masks):
            assert_near(mask[0].flatten(1)[::5], case.golden[f"{name}/things_mask{block}"])
            assert_same_sums(mask, case.golden[f"stats/{name}/things_mask{block}"])
        for block, query in enumerate(queries):
            assert_near(query[0, ::5, ::4], case.golden[f"{name}/things_query{block}"])


def test_stuff_masks_and_scores(case):
    for name, image in case.images_by_name.items():
        for block, mask in enumerate(case.stuff.masks):
            assert_near(mask[image].flatten(1)[::6], case.golden[f"{name}/stuff_mask{block}"])
            assert_same_sums(mask[image], case.golden[f"stats/{name}/stuff_mask{block}"])
        assert_near(
            case.stuff.logits[-1][image, :, 0].sigmoid(), case.golden[f"{name}/stuff_scores"]
        )


def test_panoptic_map(case):
    # the official code resizes the padding of a batch too: for it, everything is valid
    canvas = tuple(case.images.tensor.shape[-2:])
    uncropped = replace(case.images, sizes=[canvas] * len(case.samples))
    results = case.model.postprocess(case.outputs, uncropped, case.samples)
    for name, image in case.images_by_name.items():
        golden = torch.from_numpy(case.golden[f"{name}/panoptic"])
        ours = case.inputs.official_map(*results[image]["panoptic_seg"])
        assert (ours != golden).any(-1).float().mean() < 1e-3
        segments = [x.flatten(0, 1).unique(dim=0).tolist() for x in (ours, golden)]
        assert segments[0] == segments[1]

"""Masks cut out of a resize are those of the whole resize."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.modeling.outputs import LOGIT, SOFTMAX
from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    MaskWiseMerging,
    PixelArgmaxMerging,
    ResizedMasks,
)

# images of 128 pixels a side and masks of a single cell have a kernel of their own in PyTorch
LARGE = st.integers(129, 200)


def random_masks(seed: int, cells: tuple[int, int], dtype=torch.float32) -> torch.Tensor:
    """Blobs on zero ground, one of them empty, one everywhere, one a constant 0.7."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.zeros(6, *cells)
    for mask in masks:
        y, x, height, width = (torch.rand(4, generator=random) * max(cells)).long().tolist()
        patch = mask[y : y + height + 1, x : x + width + 1]
        patch += 1.5 * torch.rand(patch.shape, generator=random)
    masks[0], masks[1], masks[2] = 0, torch.rand(cells, generator=random), 0.7
    return masks.to(dtype)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cells=st.tuples(st.integers(2, 220), st.integers(1, 220)),
    size=st.tuples(LARGE, LARGE),
    threshold=st.sampled_from([0.0, 0.5, 0.7]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_values_are_those_of_whole_masks_to_the_bit(seed, cells, size, threshold, dtype):
    masks = random_masks(seed, cells, dtype)
    whole = F.interpolate(masks[None].float(), size, mode="bilinear")[0]
    left = dict(enumerate(whole.clone()))
    for index, box, values in ResizedMasks(masks, size).regions(threshold):
        assert torch.equal(values, whole[index][box])
        left[index][box] = 0
    assert all((mask <= threshold).all() for mask in left.values())


@pytest.mark.parametrize("size", [(20, 30), (7, 7), (1, 1), (128, 128), (40, 500)])
def test_small_results_differ_by_rounding_alone(size):
    masks = random_masks(0, (12, 17))
    whole = F.interpolate(masks[None], size, mode="bilinear")[0]
    for index, box, values in ResizedMasks(masks, size).regions(0.0):
        torch.testing.assert_close(values, whole[index][box], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(90, 140), (12, 17)])
def test_binary_masks(size):
    masks = random_masks(1, (12, 17))
    whole = F.interpolate(masks[None], size, mode="bilinear")[0]
    binary = ResizedMasks(masks, size).above(0.5)
    assert 0 not in binary and binary.keys() >= {1, 2}
    for index, mask in binary.items():
        expected = whole[index] > 0.5
        assert torch.equal(mask.pixels, expected[mask.box])
        assert mask.area == expected.sum()
        torch.testing.assert_close(mask.total, whole[index][expected].sum())
        y, x = (expected.any(dim).nonzero().flatten() for dim in (1, 0))
        assert mask.tight_box() == [x[0], y[0], x[-1] + 1, y[-1] + 1]


def test_boxes_are_not_much_larger_than_their_masks():
    masks = torch.zeros(1, 100, 150)
    masks[0, 40:50, 60:80] = 1
    (mask,) = ResizedMasks(masks, (800, 1200)).above(0.5).values()
    left, top, right, bottom = mask.tight_box()
    height, width = mask.pixels.shape
    assert height <= bottom - top + 16 and width <= right - left + 16  # a cell at each end


def test_binary_masks_are_made_once(monkeypatch):
    masks = ResizedMasks(random_masks(2, (12, 17)), (140, 150))
    first = masks.above(0.5)
    monkeypatch.setattr(F, "interpolate", None)
    assert masks.above(0.5) is first


def test_no_masks():
    masks = ResizedMasks(torch.zeros(0, 3, 4), (20, 30))
    assert len(masks) == 0 and masks.above(0.5) == {} and list(masks.regions(0.0)) == []


def test_chosen_masks():
    masks = ResizedMasks(random_masks(3, (12, 17)), (60, 70))
    chosen = masks.select(torch.tensor([False, True, False, True, True, False]))
    expected = [values for index, _, values in masks.regions(0.0) if index in (1, 3, 4)]
    found = [values for _, _, values in chosen.regions(0.0)]
    assert len(chosen) == 3 and len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# ---------------------------------------------------------------- logits


def random_logits(seed: int, cells: tuple[int, int]) -> torch.Tensor:
    """Low ground with blobs; one mask is low everywhere, one high everywhere."""
    logits = 8 * random_masks(seed, cells) - 4
    logits[0], logits[1] = -9, 5
    return logits


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cells=st.tuples(st.integers(2, 60), st.integers(1, 60)),
    size=st.tuples(LARGE, LARGE),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
)
def test_logits_become_probabilities_after_the_resize(seed, cells, size, threshold):
    logits = random_logits(seed, cells)
    whole = F.interpolate(logits[None], size, mode="bilinear")[0].sigmoid()
    masks = ResizedMasks(logits, size, LOGIT)
    assert (masks.peaks() >= whole.flatten(1).amax(1)).all()
    left = dict(enumerate(whole.clone()))
    for index, box, values in masks.regions(threshold):
        torch.testing.assert_close(values, whole[index][box], rtol=1e-6, atol=1e-7)
        left[index][box] = 0
    assert all((mask <= threshold).all() for mask in left.values())
    for index, mask in masks.above(threshold).items():
        pixels = whole[index] > threshold
        undecided = ((whole[index] - threshold).abs() < 1e-6).sum()
        assert (mask.area - pixels.sum()).abs() <= undecided
        torch.testing.assert_close(mask.total, whole[index][pixels].sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_no_probability_is_above_one(threshold):
    masks = ResizedMasks(random_logits(0, (12, 17)), (40, 50), LOGIT)
    assert not any(mask.area for mask in masks.above(threshold).values())


@pytest.mark.parametrize("kind", [MaskWiseMerging, PixelArgmaxMerging, MaskFormerMerging])
@pytest.mark.parametrize("seed", range(5))
def test_merging_logits_is_merging_probabilities(kind, seed):
    """Where no mask changes its size."""
    torch.manual_seed(seed)
    logits = random_logits(seed, (20, 30))
    p, things = 0.5 + torch.rand(6) / 2, torch.rand(6) < 0.5
    rules = kind(score_threshold=0.1)
    results = []
    for masks in (
        ResizedMasks(logits, (20, 30), LOGIT),
        ResizedMasks(logits.sigmoid(), (20, 30)),
    ):
        kept = rules.prefilter(masks, p)
        chosen = masks.select(kept)
        results.append((kept, *rules(chosen, rules.score(chosen, p[kept]), things[kept])))
    (kept, id_map, segments), (expected_kept, expected_map, expected) = results
    assert torch.equal(kept, expected_kept) and torch.equal(id_map, expected_map)
    assert segments == expected and segments


def test_no_logits():
    masks = ResizedMasks(torch.zeros(0, 3, 4), (20, 30), LOGIT)
    assert masks.above(0.5) == {} and masks.peaks().shape == (0,)


@pytest.mark.parametrize("size", [(140, 150), (20, 33)])
def test_softmax_is_taken_over_all_masks_after_the_resize(size):
    logits = 3 * torch.randn(5, 9, 12, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(logits[None], size, mode="bilinear")[0].softmax(0)
    masks = ResizedMasks(logits, size, SOFTMAX)
    for index, box, values in masks.regions(0.4):
        torch.testing.assert_close(values, expected[index][box], rtol=1e-4, atol=1e-6)
    assert (expected.flatten(1).amax(1) <= masks.peaks()).all()
    kept = torch.tensor([True, False, True, True, False])
    alone = F.interpolate(logits[kept][None], size, mode="bilinear")[0].softmax(0)
    found = {index: values for index, _, values in masks.select(kept).regions(0.0)}
    torch.testing.assert_close(torch.stack([found[i] for i in range(3)]), alone)


def test_no_share_is_above_one():
    """The logarithm of the sum is rounded to steps of 64 here."""
    logits = 1e9 * torch.randn(6, 9, 12, generator=torch.Generator().manual_seed(1))
    masks = ResizedMasks(logits, (20, 33), SOFTMAX)
    assert max(values.max() for _, _, values in masks.regions(0.0)) <= 1

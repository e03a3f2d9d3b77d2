"""Pixel-wise mergings against their formulas, pixel by pixel, and against transformers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    PixelArgmaxMerging,
    ResizedMasks,
)
from d2_psformer.modeling.postprocessing.mask_wise import Segment
from d2_psformer.modeling.postprocessing.merge_stuff import merge_stuff_segments

BOTH = [PixelArgmaxMerging, MaskFormerMerging]


def random_masks(seed: int, count: int = 7, size=(5, 6)):
    generator = torch.Generator().manual_seed(seed)
    masks = 2 * torch.rand(count, *size, generator=generator) ** 3  # some are above 1
    scores = torch.rand(count, generator=generator)
    return masks, scores, torch.rand(count, generator=generator) < 0.5


def merge_as_they_are(merging, masks: torch.Tensor, *scores_and_things):
    """Masks (N, H, W) that have the size of the result."""
    return merging(ResizedMasks(masks, masks.shape[1:]), *scores_and_things)


def by_mask(id_map: torch.Tensor, segments: list[Segment]) -> torch.Tensor:
    """(H, W): the mask that owns a pixel, -1 for void."""
    owner = torch.tensor([-1] + [s.index for s in segments])
    return owner[id_map.long()]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), threshold=st.sampled_from([0.0, 0.3, 1.1]))
def test_pixel_argmax_by_its_formula(seed, threshold):
    masks, scores, things = random_masks(seed)
    id_map, segments = merge_as_they_are(
        PixelArgmaxMerging(score_threshold=threshold), masks, scores, things
    )
    owner = by_mask(id_map, segments)
    for y in range(5):
        for x in range(6):
            values = [(masks[i, y, x].item(), i) for i in range(7) if scores[i].item() >= threshold]
            best, index = max(values, default=(0.0, -1))
            assert owner[y, x] == (index if best > 0.5 else -1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    threshold=st.sampled_from([0.0, 0.3, 1.1]),
    lost=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_maskformer_by_its_formula(seed, threshold, lost):
    masks, scores, things = random_masks(seed)
    merging = MaskFormerMerging(threshold, 0.5, thing_overlap_threshold=lost)
    id_map, segments = merge_as_they_are(merging, masks, scores, things)
    chosen = [i for i in range(7) if scores[i].item() > threshold]
    expected = torch.full((5, 6), -1)
    if chosen:
        winner = torch.stack([scores[i] * masks[i].clamp(max=1) for i in chosen]).argmax(0)
        for place, i in enumerate(chosen):
            won, own = winner == place, masks[i] >= 0.5
            allowed = lost if things[i] else 0.2
            if won.any() and own.any() and 1 - won.sum() / own.sum() <= allowed + 1e-6:
                expected[won] = i
    assert torch.equal(by_mask(id_map, segments), expected)


@pytest.mark.parametrize("seed", range(8))
def test_maskformer_equals_transformers(seed):
    """Values far from the threshold: theirs is set against the product, MaskFormer's own is not."""
    module = pytest.importorskip("transformers.models.maskformer.image_processing_maskformer")
    count, size = 6, (9, 11)
    torch.manual_seed(seed)
    inside = torch.rand(count, *size) < 0.3
    masks = torch.where(inside, 0.75 + 0.2 * torch.rand(count, *size), 0.3 * torch.rand(1))
    scores, labels = 0.8 + 0.2 * torch.rand(count), torch.randint(4, (count,))
    is_thing = labels < 2
    theirs, infos = module.compute_segments(
        masks.clone(), scores, labels, 0.5, 0.41, label_ids_to_fuse={2, 3}
    )
    merging = MaskFormerMerging(
        0.5, 0.5, thing_overlap_threshold=0.59, stuff_overlap_threshold=0.59
    )
    id_map, segments = merge_stuff_segments(
        *merge_as_they_are(merging, masks, scores, is_thing), labels.tolist(), is_thing.tolist()
    )
    assert len(segments) == len({info["id"] for info in infos}) > 0
    for segment in segments:
        [theirs_id] = theirs[id_map == segment.id].unique().tolist()
        [label] = {info["label_id"] for info in infos if info["id"] == theirs_id}
        assert label == labels[segment.index]
    assert torch.equal(id_map > 0, theirs > 0)


def test_what_a_dropped_segment_won_is_void():
    """The second mask has the last pixel by a low value, which is too little of its own."""
    masks = torch.tensor([[[1.0, 1.0, 1.0, 0.1]], [[0.9, 0.9, 0.9, 0.3]]])
    things = torch.tensor([True, True])
    scores = torch.tensor([0.9, 0.8])
    id_map, segments = merge_as_they_are(MaskFormerMerging(), masks, scores, things)
    assert id_map.tolist() == [[1, 1, 1, 0]] and [s.index for s in segments] == [0]


@pytest.mark.parametrize("merging", BOTH)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_any_result_is_accounted_for(merging, seed):
    masks, scores, things = random_masks(seed)
    id_map, segments = merge_as_they_are(merging(), masks, scores, things)
    assert id_map.dtype == torch.int32 and id_map.shape == (5, 6)
    assert [s.id for s in segments] == list(range(1, len(segments) + 1))
    order = (
        [-s.score for s in segments]
        if merging is PixelArgmaxMerging
        else [s.index for s in segments]
    )
    assert order == sorted(order)
    for segment in segments:
        assert segment.area == (id_map == segment.id).sum() > 0
        assert segment.score == pytest.approx(scores[segment.index].item())
    assert set(id_map.unique().tolist()) - {0} == {s.id for s in segments}


@pytest.mark.parametrize("merging", BOTH)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), threshold=st.sampled_from([0.0, 0.25, 0.7]))
def test_masks_that_the_prefilter_drops_would_not_have_mattered(merging, seed, threshold):
    small, p, things = random_masks(seed, count=12, size=(3, 4))
    merge, masks = merging(score_threshold=threshold), ResizedMasks(small, (11, 13))

    def merged(chosen: torch.Tensor):
        kept = masks.select(chosen)
        id_map, segments = merge(kept, merge.score(kept, p[chosen]), things[chosen])
        places = chosen.nonzero()[:, 0].tolist()
        return id_map, [(places[s.index], s.area) for s in segments]

    expected_map, expected = merged(torch.ones(12, dtype=torch.bool))
    id_map, segments = merged(merge.prefilter(masks, p))
    assert torch.equal(id_map, expected_map) and segments == expected


@pytest.mark.parametrize("merging", BOTH)
def test_no_masks(merging):
    id_map, segments = merge_as_they_are(
        merging(), torch.zeros(0, 3, 4), torch.zeros(0), torch.zeros(0).bool()
    )
    assert segments == [] and not id_map.any()
    assert id_map.shape == (3, 4) and id_map.dtype == torch.int32

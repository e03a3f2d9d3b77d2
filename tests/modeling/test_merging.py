"""Mask-wise merging: cases worked out by hand, and a plain pixel-by-pixel account of any result."""

import numpy as np
import pytest
import torch
from benchmarks.merging import whole_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from d2_psformer.modeling.merging import MaskWiseMerging
from d2_psformer.modeling.resized_masks import ResizedMasks

WIDTH = 10


def bar(start: int, stop: int, value: float = 1.0) -> torch.Tensor:
    """A mask of one row that covers [start, stop)."""
    mask = torch.zeros(1, WIDTH)
    mask[0, start:stop] = value
    return mask


def as_they_are(masks: torch.Tensor) -> ResizedMasks:
    """Masks (N, H, W) that have the size of the result already."""
    return ResizedMasks(masks, masks.shape[1:])


def merge(masks, scores, is_thing=None, **options):
    is_thing = torch.ones(len(masks), dtype=torch.bool) if is_thing is None else is_thing
    id_map, segments = MaskWiseMerging(**options)(
        as_they_are(torch.stack(masks)), torch.tensor(scores), torch.as_tensor(is_thing)
    )
    return id_map[0].tolist(), [(s.id, s.index, s.area) for s in segments]


def test_the_best_takes_its_pixels_first():
    row, segments = merge([bar(0, 5), bar(3, 8)], [0.5, 0.9])
    assert row == [2, 2, 2, 1, 1, 1, 1, 1, 0, 0]
    assert segments == [(1, 1, 5), (2, 0, 3)]


@pytest.mark.parametrize(("is_thing", "kept"), [(True, True), (False, False)])
def test_things_may_lose_more_than_stuff(is_thing, kept):
    # three tenths of the second mask are taken: things may lose 0.4, stuff 0.2
    row, segments = merge([bar(0, 3), bar(0, 10)], [0.9, 0.5], [True, is_thing])
    assert (len(segments) == 2) == kept
    assert row == [1] * 3 + [2 if kept else 0] * 7


@pytest.mark.parametrize(("threshold", "kept"), [(0.4, True), (0.39, False)])
def test_overlap_may_reach_its_threshold(threshold, kept):
    _, segments = merge([bar(0, 2), bar(0, 5)], [0.9, 0.5], thing_overlap_threshold=threshold)
    assert (len(segments) == 2) == kept


@pytest.mark.parametrize(("threshold", "kept"), [(0.5, True), (0.51, False)])
def test_score_may_reach_its_threshold(threshold, kept):
    _, segments = merge([bar(0, 2)], [0.5], score_threshold=threshold)
    assert bool(segments) == kept


def test_pixels_at_the_mask_threshold_are_outside():
    row, _ = merge([torch.cat([bar(0, 4, 0.5), bar(4, 6, 0.51)]).amax(0, keepdim=True)], [0.9])
    assert row == [0] * 4 + [1] * 2 + [0] * 4


def test_empty_masks_and_low_scores_do_not_use_up_ids():
    row, segments = merge([bar(0, 0), bar(0, 3), bar(5, 7), bar(8, 9)], [0.9, 0.1, 0.8, 0.7])
    assert segments == [(1, 2, 2), (2, 3, 1)]
    assert row == [0] * 5 + [1, 1, 0, 2, 0]


def test_a_skipped_segment_does_not_end_the_merging():
    _, segments = merge([bar(0, 5), bar(0, 6), bar(6, 9)], [0.9, 0.8, 0.7])
    assert [s[1] for s in segments] == [0, 2]


def test_no_candidates():
    merging = MaskWiseMerging()
    id_map, segments = merging(
        as_they_are(torch.zeros(0, 3, 4)), torch.zeros(0), torch.zeros(0).bool()
    )
    assert segments == [] and id_map.shape == (3, 4) and not id_map.any()
    assert id_map.dtype == torch.int32


def test_score_is_class_times_mask_quality_squared():
    masks = torch.stack([bar(0, 4, 0.8), bar(0, 4, 0.5), bar(0, 4, 3.0)])
    scores = MaskWiseMerging().score(as_they_are(masks), torch.tensor([0.5, 0.9, 1.0]))
    # the mean over pixels above the threshold has one more in its denominator
    expected = [0.5 * (0.8 * 4 / 5) ** 2, 0.0, (3.0 * 4 / 5) ** 2]
    assert scores.tolist() == pytest.approx(expected)


def test_powers_of_the_score():
    merging = MaskWiseMerging(class_power=0.5, mask_power=1.0)
    score = merging.score(as_they_are(bar(0, 4)[None]), torch.tensor([0.25]))
    assert score.item() == pytest.approx(0.5 * 4 / 5)


def test_the_first_of_equals_wins():
    count = 200
    masks, things = bar(0, 4)[None].expand(count, -1, -1), torch.ones(count, dtype=torch.bool)
    _, segments = MaskWiseMerging()(as_they_are(masks), torch.full((count,), 0.5), things)
    assert [s.index for s in segments] == [0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), threshold=st.sampled_from([0.0, 0.25, 0.7]))
def test_candidates_that_may_not_stay_would_not_have_stayed(seed, threshold):
    generator = torch.Generator().manual_seed(seed)
    small = 2 * torch.rand(12, 3, 4, generator=generator) ** 4  # most are low, some are above 1
    p = torch.rand(12, generator=generator)
    things = torch.rand(12, generator=generator) < 0.5
    merging = MaskWiseMerging(score_threshold=threshold)

    def merge_resized(chosen: torch.Tensor):
        masks = ResizedMasks(small[chosen], (17, 23))
        id_map, segments = merging(masks, merging.score(masks, p[chosen]), things[chosen])
        return id_map, [(chosen.nonzero()[s.index].item(), s.area) for s in segments]

    all_map, all_segments = merge_resized(torch.ones(12, dtype=torch.bool))
    id_map, segments = merge_resized(merging.may_stay(small, p))
    assert torch.equal(id_map, all_map) and segments == all_segments


def test_most_hopeless_candidates_are_told_before_the_resize():
    masks = torch.stack([bar(0, 4, value) for value in (0.49, 0.7, 0.7, 3.0)])
    may_stay = MaskWiseMerging().may_stay(masks, torch.tensor([1.0, 0.5, 0.52, 0.1]))
    assert may_stay.tolist() == [False, False, True, True]


def test_reported_scores_do_not_exceed_one_but_rank_by_the_raw_value():
    masks = torch.stack([bar(0, 4), bar(0, 5)])
    _, segments = MaskWiseMerging()(
        as_they_are(masks), torch.tensor([1.5, 2.5]), torch.tensor([True, True])
    )
    assert [(s.index, s.score) for s in segments] == [(1, 1.0)]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(0, 8), overlap=st.floats(0, 1))
def test_any_result_is_accounted_for(seed, count, overlap):
    rng = np.random.default_rng(seed)
    masks = torch.from_numpy(rng.random((count, 6, 5), dtype=np.float32))
    scores = torch.from_numpy(rng.random(count))
    things = torch.from_numpy(rng.random(count) < 0.5)
    merging = MaskWiseMerging(thing_overlap_threshold=overlap, stuff_overlap_threshold=overlap)
    id_map, segments = merging(as_they_are(masks), scores, things)
    assert [s.id for s in segments] == list(range(1, len(segments) + 1))
    assert sorted(set(id_map.flatten().tolist()) - {0}) == [s.id for s in segments]
    assert len({s.index for s in segments}) == len(segments)
    assert [s.score for s in segments] == sorted((s.score for s in segments), reverse=True)
    taken = torch.zeros(6, 5, dtype=torch.bool)
    for segment in segments:
        own = masks[segment.index] > 0.5
        assert segment.score >= 0.25
        assert (own & taken).sum() <= overlap * own.sum() + 1e-9
        assert torch.equal(id_map == segment.id, own & ~taken)
        assert segment.area == int((own & ~taken).sum()) > 0
        taken |= own
    assert torch.equal(taken, id_map > 0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    cells=st.tuples(st.integers(2, 20), st.integers(1, 20)),
    size=st.tuples(st.integers(129, 200), st.integers(129, 200)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    steps=st.sampled_from([2, 8, 1000]),
    overlap=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_maps_are_those_of_a_loop_over_whole_masks(seed, cells, size, dtype, steps, overlap):
    """Masks of few values have many pixels at the threshold, and whole plateaus of equal score."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.rand(20, *cells, generator=random) * torch.rand(20, 1, 1, generator=random)
    masks = ((2 * steps * masks).round() / steps).to(dtype)
    masks[15:] = masks[:5]
    scores = torch.rand(20, generator=random)
    things = torch.rand(20, generator=random) < 0.6
    rules = MaskWiseMerging(thing_overlap_threshold=overlap, stuff_overlap_threshold=overlap)
    expected, winners = whole_masks(masks, scores, things, size, rules)

    chosen = rules.may_stay(masks, scores).nonzero().flatten()
    large = ResizedMasks(masks[chosen], size)
    id_map, segments = rules(large, rules.score(large, scores[chosen]), things[chosen])
    assert torch.equal(id_map.long(), expected)
    assert chosen[[s.index for s in segments]].tolist() == winners
    assert [s.area for s in segments] == expected.flatten().bincount()[1:].tolist()


class Questions(TorchDispatchMode):
    """Counts what a GPU would have to be waited for, ``tolist`` of whole tensors apart."""

    asked = (
        torch.ops.aten._local_scalar_dense.default,  # item() and bool()
        torch.ops.aten.nonzero.default,  # indexing by bools, too
    )
    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in self.asked
        return function(*args, **(kwargs or {}))


def test_the_device_is_not_asked_for_every_segment():
    random = torch.Generator().manual_seed(0)
    masks, scores = torch.rand(30, 9, 12, generator=random), torch.full((30,), 0.9)
    merging = MaskWiseMerging(thing_overlap_threshold=0.9)
    with Questions() as questions:
        large = ResizedMasks(masks, (70, 90))
        _, segments = merging(large, merging.score(large, scores), scores > 0)
    assert len(segments) > 2
    assert questions.count == 0

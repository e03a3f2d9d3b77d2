"""One segment for every stuff class."""

import pytest
import torch

from d2_psformer.modeling.postprocessing.mask_wise import Segment
from d2_psformer.modeling.postprocessing.merge_stuff import merge_stuff_segments


def test_segments_of_one_stuff_class_become_one():
    id_map = torch.tensor([[0, 1, 2, 3], [4, 4, 5, 0]], dtype=torch.int32)
    areas = [1, 1, 1, 2, 1]
    segments = [Segment(i + 1, 10 + i, 0.9 - 0.1 * i, area) for i, area in enumerate(areas)]
    classes = [0] * 10 + [7, 2, 7, 2, 7]
    is_thing = [True] * 10 + [False, True, False, True, False]
    joined_map, joined = merge_stuff_segments(id_map, segments, classes, is_thing)
    assert joined_map.tolist() == [[0, 1, 2, 1], [3, 3, 1, 0]] and joined_map.dtype == torch.int32
    assert [(s.id, s.index, s.area) for s in joined] == [(1, 10, 3), (2, 11, 1), (3, 13, 2)]
    assert [s.score for s in joined] == pytest.approx([0.9, 0.8, 0.6])


def test_without_repetition_nothing_changes():
    id_map = torch.tensor([[1, 2]], dtype=torch.int32)
    segments = [Segment(1, 0, 0.9, 1), Segment(2, 1, 0.8, 1)]
    same_map, same = merge_stuff_segments(id_map, segments, [3, 4], [False, False])
    assert same_map is id_map and same is segments

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from d2_psformer.data.segments import (
    label_segments,
    present_ids,
    segment_areas,
    segment_boxes,
    segment_masks,
)

BIG = 2**24 - 1
id_maps = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.sampled_from([0, 1, 2, 255, 256, 70000, BIG]),
)
listings = st.lists(st.sampled_from([1, 2, 255, 256, 70000, BIG, 9]), unique=True)


@given(ids=id_maps, listed=listings)
def test_everything_equals_one_comparison_per_segment(ids, listed):
    labels = label_segments(ids, listed)
    areas = segment_areas(labels, len(listed))
    boxes = segment_boxes(labels, len(listed))
    masks = segment_masks(labels, len(listed))
    assert present_ids(ids) == {int(v) for v in ids.ravel()}
    assert masks.shape == (len(listed), *ids.shape)
    assert masks.dtype == bool
    assert (labels == 0).sum() + areas.sum() == ids.size
    for k, number in enumerate(listed):
        mask = ids == number
        np.testing.assert_array_equal(masks[k], mask)
        assert areas[k] == mask.sum()
        y, x = np.nonzero(mask)
        box = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert boxes[k].tolist() == box


@pytest.mark.parametrize(("count", "dtype"), [(254, np.uint8), (255, np.int32)])
def test_labels_are_small_where_they_can_be(count, dtype):
    labels = label_segments(np.arange(300)[None], list(range(1, count + 1)))
    assert labels.dtype == dtype
    assert labels[0, : count + 1].tolist() == list(range(count + 1))
    assert not labels[0, count + 1 :].any()


@pytest.mark.parametrize("other", [-1, 3, 255])
def test_boxes_leave_other_labels_alone(other):
    labels = np.array([[1, other, 2], [other, 0, 2]], np.int32)
    assert segment_boxes(labels, 2).tolist() == [[0, 0, 1, 1], [2, 0, 3, 2]]


def test_empty_maps():
    nothing = np.zeros((0, 5), np.int32)
    labels = label_segments(nothing, [3])
    assert labels.shape == (0, 5)
    assert segment_areas(labels, 1).tolist() == [0]
    assert segment_boxes(labels, 1).tolist() == [[0, 0, 0, 0]]
    assert present_ids(nothing) == set()

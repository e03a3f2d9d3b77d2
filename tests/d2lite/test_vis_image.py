"""d2lite's drawing: labels, colours, masks, and objects followed through a video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from d2_psformer.d2lite.data import Metadata
from d2_psformer.d2lite.utils import vis_image, visualizer
from d2_psformer.d2lite.utils.video_visualizer import VideoVisualizer
from d2_psformer.d2lite.utils.vis_image import VisImage, to_rgb
from d2_psformer.d2lite.utils.visualizer import Visualizer


def blank(height=100, width=200):
    return np.full((height, width, 3), 128, dtype=np.uint8)


def rectangle(x0, y0, x1, y1, shape=(100, 200)):
    mask = np.zeros(shape, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.fixture
def boxes(monkeypatch):
    """Rectangles of all labels that are drawn."""
    drawn = []
    original = VisImage._draw_label

    def spy(self, draw, label, taken):
        original(self, draw, label, taken)
        drawn[:] = taken

    monkeypatch.setattr(VisImage, "_draw_label", spy)
    return drawn


def test_labels_keep_out_of_each_other_s_way(boxes):
    picture = VisImage(blank())
    for _ in range(4):
        picture.draw_text("person", (100, 50), "red", 8)
    picture.get_image()
    assert len(boxes) == 4
    for i, box in enumerate(boxes):
        assert not any(vis_image._overlap(box, other) for other in boxes[:i])


@given(x=st.floats(-50, 250), y=st.floats(-50, 150), centred=st.booleans())
def test_labels_stay_in_the_picture(x, y, centred):
    picture = VisImage(blank())
    picture.draw_text("person", (x, y), "red", 8, centred)
    changed = np.argwhere((picture.get_image() != 128).any(axis=2))
    height, width = np.ptp(changed, axis=0) + 1
    assert 8 < height < 30 and 20 < width < 90


def test_labels_lie_on_top_of_what_is_drawn_later():
    picture = VisImage(blank())
    picture.draw_text("person", (100, 50), "red", 8)
    picture.draw_mask(rectangle(0, 0, 200, 100), "white", 1.0, "white")
    assert picture.get_image().min() < 100


def test_fill_and_edge_are_exact():
    picture = VisImage(blank())
    mask = rectangle(0, 20, 80, 60)
    picture.draw_mask(mask, (1, 0, 0), 0.5, (0, 1, 0))
    result = picture.get_image()
    assert_array_equal(result[~mask], 128)
    assert_allclose(result[30:50, 5:70].reshape(-1, 3), [[191.5, 64, 64]] * 1300, atol=0.5)
    assert_array_equal(result[20, 10], [0, 255, 0])
    # The border of the picture is no edge.
    assert result[40, 0, 0] > 190


def test_an_empty_mask_draws_nothing():
    picture = VisImage(blank())
    picture.draw_mask(rectangle(0, 0, 0, 0), "red", 0.5, "white")
    assert_array_equal(picture.get_image(), blank())


def test_a_scaled_picture_scales_everything():
    picture = VisImage(blank(), scale=2)
    picture.draw_mask(rectangle(10, 20, 30, 40), "red", 1.0, "red")
    picture.draw_box((100, 50, 150, 80), "blue", 1.0)
    result = picture.get_image()
    assert_array_equal(result[..., 0] == 255, rectangle(20, 40, 60, 80, (200, 400)))
    assert_array_equal(result[100, 250], [0, 0, 255])


@pytest.mark.parametrize(
    "color", ["red", "#ff0000", (1.0, 0, 0), [1, 0, 0], np.array([1.0, 0, 0])], ids=str
)
def test_colours_of_all_kinds(color):
    assert_allclose(to_rgb(color), [1, 0, 0])


def test_neighbours_in_the_palette_differ():
    palette = np.array([visualizer.palette_color(i) for i in range(72)])
    assert palette.min() >= 0 and palette.max() <= 1
    distance = np.abs(palette[:, None] - palette).sum(axis=2) + 4 * np.eye(72)
    assert distance.min() > 0.02 and np.diag(distance, 1).min() > 0.4


def test_boxes_without_masks_are_drawn_large_ones_first():
    drawing = Visualizer(blank())
    boxes = [[20, 20, 40, 40], [10, 10, 90, 90]]
    picture = drawing.overlay_instances(boxes=boxes, labels=["small", "large"]).get_image()
    assert [label.text for label in drawing.output._labels] == ["large", "small"]
    assert (picture[10, 50:80] != 128).any() and (picture[20, 20:40] != 128).any()


def test_the_deepest_point_is_in_the_thickest_part():
    mask = rectangle(0, 48, 200, 52) | rectangle(120, 20, 180, 80)  # A band with a square on it.
    x, y = visualizer._deepest_point(mask)
    assert 130 < x < 170 and 30 < y < 70
    ring = rectangle(50, 20, 150, 80) & ~rectangle(60, 30, 140, 70)
    x, y = visualizer._deepest_point(ring)
    assert ring[y, x]


def test_pictures_do_not_touch_the_random_state_and_repeat_themselves():
    metadata = Metadata(thing_classes=["cat"], thing_colors=[(200, 30, 30)])
    ids = rectangle(10, 10, 90, 90) + 2 * rectangle(100, 10, 190, 90)
    info = [{"id": i, "category_id": 0, "isthing": True} for i in (1, 2)]
    np.random.seed(3)
    pictures = [
        Visualizer(blank(), metadata).draw_panoptic_seg(ids, info).get_image() for _ in range(2)
    ]
    assert_array_equal(*pictures)
    state = np.random.rand()
    np.random.seed(3)
    assert state == np.random.rand()
    left, right = pictures[0][80, 40].astype(int), pictures[0][80, 140].astype(int)
    assert np.abs(left - right).sum() > 20  # Two cats, two shades.


def test_ids_stand_for_missing_names():
    drawing = Visualizer(blank(), Metadata(thing_classes=["cat"]))
    assert drawing._label(0, 0.873) == "cat 87%"
    assert drawing._label(7, iscrowd=1) == "7|crowd"


def test_an_object_is_followed():
    video = VideoVisualizer(Metadata())
    (first,) = video.colors_of([0], [rectangle(0, 0, 50, 50)])
    other_class, again = video.colors_of([1, 0], [rectangle(5, 0, 55, 50), rectangle(8, 0, 58, 50)])
    assert_array_equal(again, first)
    assert np.abs(other_class - first).max() > 0.1


def test_an_object_is_remembered_for_a_while():
    for frames, remembered in ((8, True), (9, False)):
        video = VideoVisualizer(Metadata())
        (before,) = video.colors_of([0], [rectangle(0, 0, 50, 50)])
        for _ in range(frames - 1):
            assert video.colors_of([], []) == []
        (after,) = video.colors_of([0], [rectangle(0, 0, 50, 50)])
        assert np.array_equal(before, after) == remembered


def test_the_best_overlap_gets_the_colour():
    video = VideoVisualizer(Metadata())
    old = video.colors_of([0, 0], [rectangle(0, 0, 100, 50), rectangle(110, 0, 190, 50)])
    new = video.colors_of(
        [0, 0, 0], [rectangle(30, 0, 100, 50), rectangle(5, 0, 100, 50), rectangle(112, 0, 190, 50)]
    )
    assert_array_equal(new[1], old[0])
    assert_array_equal(new[2], old[1])
    assert np.abs(new[0] - old[0]).max() > 0.05

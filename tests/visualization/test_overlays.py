"""Overlays: colours, void, sizes, videos; the same on both backends."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.visualization import VideoOverlays, draw_overlay
from d2_psformer.visualization.overlays import LEAST_SIDE

THING, STUFF = (250, 30, 30), (20, 40, 240)
GREY = 120
LARGE_ID = 70_000  # more than two bytes


@pytest.fixture
def metadata():
    name = "overlay_classes"
    yield MetadataCatalog.get(name).set(
        thing_classes=["ball"],
        stuff_classes=["ball", "floor"],
        thing_colors=[THING],
        stuff_colors=[THING, STUFF],
    )
    MetadataCatalog.remove(name)


def scene(height: int = 700, width: int = 800, x: int = 100):
    """A grey picture: void above, floor below, a ball of 100 x 100 pixels at ``x`` in between."""
    image = np.full((height, width, 3), GREY, np.uint8)
    ids = np.zeros((height, width), np.int32)
    ids[height // 2 :] = LARGE_ID
    top = height // 2 - 50
    ids[top : top + 100, x : x + 100] = 2
    segments = [
        {"id": LARGE_ID, "category_id": 1, "isthing": False, "score": 0.8, "area": 1},
        {"id": 2, "category_id": 0, "isthing": True, "score": 0.9, "area": 1},
    ]
    return image, ids, segments


def test_stuff_has_its_colour_and_void_stays(metadata):
    picture = draw_overlay(*scene(), metadata)
    assert picture.shape == (700, 800, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[690, 790], (np.array(STUFF) + GREY) / 2, atol=3)
    np.testing.assert_allclose(picture[10, 10], GREY, atol=2)


def test_things_differ_from_stuff_and_carry_a_label(metadata):
    picture = draw_overlay(*scene(), metadata).astype(int)
    ball = picture[305:395, 105:195]
    red = np.median(ball.reshape(-1, 3), axis=0)
    assert red[0] > GREY + 20
    assert red[0] > red[2]
    around = picture[200:500, 50:300]
    assert (around.sum(axis=2) < 120).sum() > 500  # the dark ground of the letters


def test_segments_are_only_read(metadata):
    image, ids, segments = scene()
    before = copy.deepcopy((image, ids, segments))
    draw_overlay(image, ids, segments, metadata)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(ids, before[1])
    assert segments == before[2]


def test_an_image_without_segments_stays(metadata):
    image = np.random.default_rng(0).integers(0, 256, (640, 700, 3)).astype(np.uint8)
    picture = draw_overlay(image, np.zeros((640, 700), np.int32), [], metadata)
    assert np.abs(picture.astype(int) - image).mean() < 1


def test_small_images_are_enlarged_so_that_labels_fit(metadata):
    image, ids, segments = scene(80, 160, x=0)
    picture = draw_overlay(image, ids, segments, metadata)
    assert picture.shape == (LEAST_SIDE // 2, LEAST_SIDE, 3)
    # the segments grow with the image
    np.testing.assert_allclose(picture[-5, -5], (np.array(STUFF) + GREY) / 2, atol=3)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(20, 90))
def test_long_side_is_what_was_asked_for(height, width, side):
    image, ids = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.int64)
    classes = {"thing_classes": ["ball"], "stuff_classes": ["ball"]}
    picture = draw_overlay(image, ids, [], classes, long_side=side)
    assert max(picture.shape[:2]) == side
    assert min(picture.shape[:2]) == max(1, round(side * min(height, width) / max(height, width)))


def test_a_thing_in_a_video_keeps_its_colour_while_it_moves(metadata):
    overlays = VideoOverlays(metadata)
    corners = []
    for x in (100, 110, 120):
        frame = overlays.draw(*scene(x=x))
        assert frame.shape == (700, 800, 3)
        corners.append(frame[310, x + 15])  # inside the ball, beside its label
    assert not np.allclose(corners[0], GREY, atol=10)
    np.testing.assert_allclose(corners[1], corners[0], atol=3)
    np.testing.assert_allclose(corners[2], corners[0], atol=3)

"""Colours of things from picture to picture, places of labels, fonts."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager

from d2_psformer.classes import Classes
from d2_psformer.visualization import fonts
from d2_psformer.visualization.colors import SegmentColors
from d2_psformer.visualization.labels import place_labels
from d2_psformer.visualization.legend import draw_legend

CLASSES = Classes(
    (0, 1), (2,), ("ball", "box", "floor"), ((200, 40, 40), (40, 200, 40), (9, 9, 99))
)
H, W = 60, 90


def squares(*corners: tuple[int, int], side: int = 20) -> np.ndarray:
    labels = np.zeros((H, W), np.uint8)
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


def balls(count: int, category: int = 0) -> list[dict]:
    return [{"id": k, "category_id": category, "isthing": True} for k in range(count)]


def test_things_of_a_class_differ_and_stuff_is_as_its_class():
    colors = SegmentColors(CLASSES)(squares((0, 0), (0, 30), (30, 0)), balls(3))
    assert len({*map(tuple, colors.tolist())}) == 3
    assert colors[0].tolist() == [200, 40, 40]
    floor = [{"id": 1, "category_id": 2, "isthing": False}]
    assert SegmentColors(CLASSES)(squares((0, 0)), floor).tolist() == [[9, 9, 99]]


def test_a_thing_has_one_colour_in_truth_and_prediction_whatever_its_place_in_the_list():
    colors = SegmentColors(CLASSES)
    truth = colors(squares((0, 0), (0, 30), (30, 0)), balls(3))
    predicted = colors(squares((31, 2), (2, 1), (1, 32)), balls(3))
    np.testing.assert_array_equal(predicted, truth[[2, 0, 1]])


def test_another_class_is_another_colour():
    colors = SegmentColors(CLASSES)
    ball = colors(squares((0, 0)), balls(1))
    assert (colors(squares((0, 0)), balls(1, category=1)) != ball).any()


def test_a_moving_thing_keeps_its_colour_and_a_new_one_takes_another():
    colors = SegmentColors(CLASSES)
    first = colors(squares((0, 0), (30, 0)), balls(2))
    for x in range(4, 60, 4):
        moved = colors(squares((30, 0), (0, x)), balls(2))
        np.testing.assert_array_equal(moved, first[::-1])
    three = colors(squares((30, 30), (30, 0), (0, 56)), balls(3))
    assert tuple(three[0]) not in {*map(tuple, first.tolist())}


@pytest.mark.parametrize(("gone", "same"), [(3, True), (12, False)])
def test_a_thing_that_was_hidden_is_remembered_for_some_pictures(gone, same):
    colors = SegmentColors(CLASSES)
    first = colors(squares((0, 0), (30, 0)), balls(2))
    for _ in range(gone):
        colors(squares((0, 0)), balls(1))
    colors(squares((0, 0), (30, 60)), balls(2))  # another comes meanwhile
    again = colors(squares((0, 0), (30, 60), (30, 0)), balls(3))
    assert (again[2] == first[1]).all() == same


def test_pictures_of_another_size_begin_anew():
    colors = SegmentColors(CLASSES)
    colors(squares((0, 0), (30, 0)), balls(2))
    assert colors(np.ones((5, 5), np.uint8), balls(1)).tolist() == [[200, 40, 40]]


def test_segments_without_a_pixel_do_no_harm():
    assert SegmentColors(CLASSES)(squares((0, 0)), balls(3)).shape == (3, 3)
    assert SegmentColors(CLASSES)(squares(), []).shape == (0, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_labels_hide_no_label_and_little_of_a_segment(seed, count):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count + 1, (8, 12)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
    boxes = place_labels(labels, [(int(w), 10) for w in rng.integers(8, 50, count)])
    covered = np.zeros(labels.shape, int)
    for box in boxes:
        if box is not None:
            x0, y0, x1, y1 = box
            assert 0 <= x0 < x1 <= labels.shape[1]
            assert 0 <= y0 < y1 <= labels.shape[0]
            covered[y0:y1, x0:x1] += 1
            for k in range(1, count + 1):
                hidden = (labels[y0:y1, x0:x1] == k).sum()
                assert hidden <= 0.5 * (labels == k).sum()
    assert covered.max() <= 1


def test_a_large_segment_has_its_label_inside_and_a_tiny_one_has_none():
    labels = np.ones((100, 200), np.uint8)
    labels[40:44, 40:44] = 2
    inside, tiny = place_labels(labels, [(60, 12), (60, 12)])
    assert inside is not None
    assert tiny is None


def test_a_label_is_beside_a_person_rather_than_on_it():
    labels = np.ones((200, 200), np.uint8)
    labels[80:120, 90:110] = 2
    _, (x0, y0, x1, y1) = place_labels(labels, [(60, 12), (60, 14)])
    assert not (labels[y0:y1, x0:x1] == 2).any()


def test_latin_greek_and_cyrillic_have_a_font_that_is_always_there():
    for text in ("person 93%", "Größe", "Γάτα", "кошка"):
        assert "DejaVu" in fonts.font_for(text, 20).path


def test_a_script_that_needs_a_font_of_the_system():
    font = fonts.font_for("猫と犬", 20)
    if "DejaVu" in font.path:
        pytest.skip("no font of this system has Japanese letters")
    assert (
        font.getmask("猫").getbbox() != font.getmask("犬").getbbox() or font.getlength("猫") == 20
    )


def test_without_a_font_there_is_a_warning_and_a_picture(monkeypatch, caplog):
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    text = chr(0x1F9FF) * 2  # in no font of outlines
    fonts._file_for.cache_clear()
    with caplog.at_level(logging.WARNING):
        font = fonts.font_for(text, 20)
    fonts._file_for.cache_clear()
    assert "No font has all the letters" in caplog.text
    assert font.getlength(text) > 0


def test_the_legend_names_classes_and_explains_scores():
    picture = np.full((50, 400, 3), 120, np.uint8)
    bare = draw_legend(picture, CLASSES, balls(1))
    np.testing.assert_array_equal(bare[:50], picture)
    assert (bare[50:] == (200, 40, 40)).all(axis=2).any()
    scored = draw_legend(picture, CLASSES, [{**balls(1)[0], "score": 0.5}])
    assert scored.shape[0] > bare.shape[0]
    assert draw_legend(picture, CLASSES, []) is picture

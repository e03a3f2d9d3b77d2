"""Which images a report shows, and where it marks errors."""

import math

import numpy as np
import pytest

from d2_psformer.classes import Classes
from d2_psformer.report.errors import MEANINGS, draw_errors
from d2_psformer.report.gallery import choose_images
from d2_psformer.report.statistics import ImageFigures


def images(qualities, classes=None):
    classes = classes or [{0}] * len(qualities)
    return [
        ImageFigures(q, 0 if math.isnan(q) else 100 - q, frozenset(c))
        for q, c in zip(qualities, classes, strict=True)
    ]


@pytest.mark.parametrize("limit", [1, 2, 7, 24, 200])
def test_never_more_than_the_limit_and_as_many_as_there_are(limit):
    runs = [images(np.random.default_rng(0).uniform(0, 100, 50).tolist())]
    assert len(choose_images(runs, limit)) == min(limit, 50)


def test_the_worst_come_first_and_the_best_last():
    chosen = choose_images([images([50.0, 10.0, 90.0, math.nan, 60, 55, 52, 58])], 4)
    assert next(iter(chosen)) == 1
    assert [*chosen][-1] == 2
    assert chosen[1] == ["worst", "most confused"]
    assert chosen[2] == ["best"]


def test_images_without_anything_to_find_are_neither_best_nor_worst():
    assert choose_images([images([math.nan, math.nan])], 4) == {0: ["others"], 1: ["others"]}


def test_none_is_the_best_where_all_are_alike():
    groups = choose_images([images([0.0, 0.0, 0.0])], 8).values()
    assert not any("best" in group for group in groups)


def test_every_class_has_a_picture_where_there_is_room():
    classes = [{0}, {0}, {0}, {0}, {0, 5}, {0}, {0}, {0, 5}]
    chosen = choose_images([images([1.0, 2, 98, 99, 60, 50, 51, 40], classes)], 4)
    assert chosen[7] == ["by class"]  # the worse of the two


def test_two_runs_show_where_they_differ():
    first, second = images([50.0, 50, 50, 50]), images([50.0, 90, 10, 50])
    chosen = choose_images([first, second], 8)
    assert "better in B" in chosen[1]
    assert "better in A" in chosen[2]


def test_errors_have_their_colours():
    names = ("cat", "dog")
    classes = Classes((0,), (1,), names, ((1, 1, 1), (2, 2, 2)), {0: 1, 1: 2})
    cat, dog = ({"category_id": c, "isthing": c == 0} for c in (0, 1))
    truth = np.array([[0, 1, 1, 2, 3, 3]], np.int32)
    found = np.array([[9, 9, 0, 8, 7, 7]], np.int32)
    truth_segments = [{"id": 1, **cat}, {"id": 2, **cat}, {"id": 3, **dog}]
    found_segments = [{"id": 9, **cat}, {"id": 8, **dog}, {"id": 7, **dog}]
    image = np.zeros((1, 6, 3), np.uint8)
    picture = draw_errors(image, (truth, truth_segments), (found, found_segments), classes)
    expected = ["not annotated", "right class, no match", "not found", "wrong class", None, None]
    for pixel, meaning in zip(picture[0].astype(int), expected, strict=True):
        if meaning is None:
            assert pixel.tolist() == [110] * 3
        else:
            np.testing.assert_allclose(pixel, 27 + 0.75 * np.array(MEANINGS[meaning]), atol=2)

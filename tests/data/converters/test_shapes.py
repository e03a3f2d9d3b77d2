import numpy as np
import pytest
from matplotlib.patches import Ellipse
from matplotlib.path import Path as MplPath
from pycocotools import mask as mask_util

from d2_psformer.data.converters.shapes import Shape, box, ellipse, paint, pasted, polygon
from d2_psformer.utils.errors import UserError

SIZE = (40, 60)


def rectangle(name: str, *corners: float, **more) -> Shape:
    x0, y0, x1, y1 = corners
    return Shape(name, box([[x0, y0], [x1, y1]], SIZE, "it"), **more)


def drawn(*shapes: Shape, stuff=("sky",)) -> list[tuple[str, int]]:
    ids, segments = paint(shapes, SIZE, stuff)
    return [(s.class_name, int((ids == s.id).sum())) for s in segments]


def test_the_smaller_shape_lies_on_top_whatever_the_order():
    large, small = rectangle("a", 0, 0, 20, 20), rectangle("b", 5, 5, 10, 10)
    assert sorted(drawn(small, large)) == sorted(drawn(large, small)) == [("a", 375), ("b", 25)]


def test_of_equal_shapes_the_later_lies_on_top():
    first, second = (rectangle(name, 0, 0, 5, 5) for name in "ab")
    assert drawn(first, second) == [("a", 0), ("b", 25)]


def test_layer_before_kind_before_size():
    sky = rectangle("sky", 0, 0, 5, 5)
    crowd = rectangle("a", 0, 0, 10, 10, iscrowd=True)
    thing = rectangle("a", 0, 0, 20, 20)
    assert drawn(thing, crowd, sky) == [("sky", 0), ("a", 0), ("a", 400)]
    raised = rectangle("sky", 0, 0, 5, 5, layer=1)
    assert drawn(raised, thing) == [("a", 375), ("sky", 25)]


def test_shapes_of_one_class_and_group_are_one_object():
    parts = [rectangle("a", x, 0, x + 5, 5, group=1) for x in (0, 20)]
    other = rectangle("b", 40, 0, 45, 5, group=1)
    assert sorted(drawn(*parts, other)) == [("a", 50), ("b", 25)]


@pytest.mark.parametrize("turned", [0, 30, 90])
def test_ellipses_are_those_of_matplotlib(turned):
    ours = mask_util.decode(ellipse((30, 20), (16, 8), SIZE, "it", turned))[..., 0].astype(bool)
    outline = MplPath(Ellipse((30, 20), 32, 16, angle=turned).get_verts())
    centers = np.argwhere(np.ones(SIZE))[:, ::-1] + 0.5
    theirs = outline.contains_points(centers).reshape(SIZE)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ([[3, 4]], r"is a polygon of 1 point: draw 3 or more"),
        ([[3, 4], [5, 6], [float("nan"), 2]], "no pairs of finite numbers"),
        ([[3, 4], [5, 6], [7]], "no pairs of finite numbers"),
        ([3, 4, 5, 6, 7, 8], "no pairs of finite numbers"),
        ([], "no pairs of finite numbers"),
        (None, "no pairs of finite numbers"),
        ("abc", "no pairs of finite numbers"),
        ([[0, 0], [1e9, 0], [1e9, 1e9]], "far beyond the image of 60 x 40"),
    ],
)
def test_other_polygons_are_refused(points, sentence):
    with pytest.raises(UserError, match=f"^Shape 3 of 'a.json' .*{sentence}"):
        polygon(points, SIZE, "Shape 3 of 'a.json'")


def test_masks_stay_inside_the_image():
    assert mask_util.area(pasted(np.ones((2, 3), bool), 57, 38, SIZE, "it"))[0] == 6
    for left, top in ((58, 38), (57, 39), (-1, 0)):
        with pytest.raises(UserError, match="reaches beyond the image"):
            pasted(np.ones((2, 3), bool), left, top, SIZE, "it")

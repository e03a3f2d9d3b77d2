"""Pictures of attention show what was recorded, where it was."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from d2_psformer.visualization import (
    SegmentAttention,
    check_choice,
    choose_segments,
    draw_attention_maps,
    draw_sampling_points,
    write_attention,
)
from d2_psformer.visualization.attention import MaskMaps, SamplingPoints
from d2_psformer.visualization.attention_points import _bounds, _quantile
from d2_psformer.visualization.attention_style import colours

GREY = np.full((40, 60, 3), 128, np.uint8)
IDS = np.zeros((40, 60), np.int32)
SEGMENT = {"id": 3, "category_id": 1, "isthing": True, "score": 0.9, "query": 5, "area": 100}


class Classes:
    thing_classes = ("ball", "hair drier")
    stuff_classes = ("ball", "hair drier", "wall")


def attention(maps=(), points=(), valid_cells=((2, 3), (1, 2))) -> SegmentAttention:
    return SegmentAttention(SEGMENT, list(valid_cells), list(maps), list(points))


def maps(layer: str, hot: tuple[int, int], heads: int = 2) -> MaskMaps:
    """On a canvas of 4 x 4 cells, of which the image has 2 x 3; every head is hot at one cell."""
    fine, coarse = torch.zeros(heads, 4, 4), torch.zeros(heads, 2, 2)
    fine[:, hot[0], hot[1]] = 2.0
    fine[:, 3, 3] = -50.0  # padding
    return MaskMaps(layer, [fine, coarse], (fine[0] > 1).float())


def points(layer: str, place: tuple[float, float], weight: float = 1.0) -> SamplingPoints:
    locations = torch.tensor([place, [0.3, 0.3]]).view(1, 1, 2, 2)
    weights = torch.tensor([weight, 1 - weight]).view(1, 1, 2)
    box = torch.tensor([0.5, 0.5, 0.4, 0.4])
    return SamplingPoints(layer, locations, weights, reference=box[:2], box=box)


def is_dark(picture: np.ndarray) -> np.ndarray:
    """Of the end of the scale, not of letters and outlines."""
    end = colours(np.ones(1))[0].astype(int)
    return np.abs(picture.astype(int) - end).sum(-1) < 12


def test_a_head_is_dark_where_it_attends():
    sheets = [
        draw_attention_maps(GREY, IDS, attention([maps("final", hot)])) for hot in ((0, 2), (1, 0))
    ]
    assert sheets[0].shape == sheets[1].shape
    # two heads and the mask: three tiles of 200 x 133 pixels, each with one hot corner
    upper, lower = (np.argwhere(is_dark(sheet)) for sheet in sheets)
    for side in (0, 1):
        assert upper[:, side].max() - upper[:, side].min() > 0
    assert upper[:, 0].mean() < lower[:, 0].mean() - 20
    assert upper[:, 1].mean() > lower[:, 1].mean() + 60


def test_every_layer_and_level_has_a_row():
    one = draw_attention_maps(GREY, IDS, attention([maps("final", (0, 0))]))
    three = draw_attention_maps(GREY, IDS, attention([maps("final", (0, 0))] * 3))
    assert three.shape[0] - one.shape[0] == 2 * 2 * (133 + 4)
    many = draw_attention_maps(GREY, IDS, attention([maps("final", (0, 0), heads=8)]))
    assert many.shape[1] > one.shape[1]


def test_the_colours_print():
    """In grey they go from pale to dark, in even steps of lightness (CIE L*)."""
    scale = colours(np.linspace(0, 1, 206))[None]
    lightness = cv2.cvtColor(np.float32(scale) / 255, cv2.COLOR_RGB2LAB)[0, :, 0]
    steps = np.diff(lightness[::5])
    assert (steps < 0).all()
    assert lightness[0] > 95 and lightness[-1] < 20
    assert steps.min() / steps.max() < 2


def test_padding_is_not_shown():
    """A deep trough in the padding would make all else look alike."""
    sheet = draw_attention_maps(GREY, IDS, attention([maps("final", (0, 2))]))
    pale = np.abs(sheet.astype(int) - colours(np.zeros(1))[0]).sum(-1) < 12
    assert not pale.any()


def test_the_segment_is_outlined():
    ids = IDS.copy()
    ids[10:30, 20:40] = 3
    plain, outlined = (
        draw_attention_maps(GREY, x, attention([maps("final", (0, 0))])) for x in (IDS, ids)
    )
    changed = (plain != outlined).any(-1)
    assert changed.any() and (outlined[changed] < plain[changed]).any()


def test_a_point_is_drawn_where_it_lies():
    """The view is the middle of the image: x and y from 0.268 to 0.732."""
    left, right = (
        draw_sampling_points(GREY, IDS, attention(points=[points("layer 1", (x, 0.4))]))
        for x in (0.35, 0.65)
    )
    places = [np.argwhere(is_dark(sheet)).mean(0) for sheet in (left, right)]
    assert abs(places[0][0] - places[1][0]) < 1
    width = left.shape[1] - 24
    assert places[1][1] - places[0][1] == pytest.approx(0.3 / 0.464 * width, rel=0.03)


def test_every_layer_has_a_panel():
    layers = [points(f"layer {i}", (0.4, 0.4)) for i in range(3)]
    one, three = (draw_sampling_points(GREY, IDS, attention(points=layers[:n])) for n in (1, 3))
    assert three.shape[1] > 2.5 * one.shape[1]


def test_the_view_holds_boxes_and_nearly_all_attention():
    far = points("layer 1", (3.0, 0.5), weight=0.01)  # outside, with little weight
    low, high = _bounds([far])
    assert (low < 0.3).all() and (high > 0.7).all() and (high < 0.8).all()
    corner = SamplingPoints(
        "layer 1",
        torch.full((1, 1, 1, 2), 0.99),
        torch.ones(1, 1, 1),
        torch.tensor([0.99, 0.99]),
        torch.tensor([0.99, 0.99, 0.01, 0.01]),
    )
    low, high = _bounds([corner])
    assert (low > 0.8).all() and (high == 1).all()
    assert draw_sampling_points(GREY, IDS, attention(points=[corner])).size


def test_quantile_is_weighted():
    values, weights = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.1, 0.1, 0.8])
    assert [float(_quantile(values, weights, q)) for q in (0.05, 0.5, 0.95)] == [1, 2, 3]


def test_stuff_has_no_points_to_draw():
    with pytest.raises(ValueError, match="Segment 3"):
        draw_sampling_points(GREY, IDS, attention())


SEGMENTS = [
    {"id": i, "category_id": c, "isthing": c < 2, "score": s, "query": 0, "area": 1}
    for i, c, s in ((1, 0, 0.3), (2, 2, 0.9), (3, 1, 0.5), (4, 0, 0.8))
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [([], [2, 4, 3, 1]), (["ball"], [1, 4]), (["wall", "3"], [2, 3]), (["9"], [])],
)
def test_segments_are_chosen_by_id_or_class(wanted, ids):
    check_choice(wanted, Classes)
    assert [s["id"] for s in choose_segments(SEGMENTS, wanted, Classes)] == ids


def test_without_a_choice_the_surest_are_drawn():
    assert len(choose_segments([{**SEGMENT, "score": i / 20} for i in range(20)], [], Classes)) == 6


def test_an_unknown_class_is_told():
    with pytest.raises(ValueError, match="no class 'door'"):
        check_choice(["ball", "door"], Classes)


def test_files(tmp_path: Path):
    class Record:
        def of(self, segment):
            return attention([maps("final", (0, 0))], [points("layer 1", (0.4, 0.4))])

    write_attention(tmp_path / "new", GREY, IDS, [SEGMENT], Record(), Classes)
    names = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert names == ["3_hair_drier_maps.jpg", "3_hair_drier_points.jpg"]
    with Image.open(tmp_path / "new" / names[0]) as picture:
        assert picture.width > 600

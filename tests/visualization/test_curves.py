"""Reading a training's metrics.json, and drawing it."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from d2_psformer.d2.utils import EventStorage, JSONWriter
from d2_psformer.visualization.curves import draw_curves, read_curves


def write_lines(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_reads_what_the_writer_writes(tmp_path):
    path = tmp_path / "metrics.json"
    writer = JSONWriter(str(path), window_size=1)
    with EventStorage(0) as storage:
        for iteration in range(3):
            storage.iter = iteration
            storage.put_scalars(total_loss=3.0 - iteration, lr=0.5, smoothing_hint=False)
            writer.write()
    writer.close()
    curves = read_curves(path)
    assert curves["total_loss"] == ([0, 1, 2], [3.0, 2.0, 1.0])
    assert curves["lr"] == ([0, 1, 2], [0.5] * 3)


def test_a_resumed_training_counts_as_one(tmp_path):
    path = write_lines(
        tmp_path / "metrics.json",
        {"iteration": 19, "total_loss": 5.0},
        {"iteration": 39, "total_loss": 4.0, "panoptic_seg/PQ": 10.0},
        {"iteration": 39, "total_loss": 3.5},
        {"iteration": 29, "total_loss": 4.5},
    )
    curves = read_curves(path)
    assert curves["total_loss"] == ([19, 29, 39], [5.0, 4.5, 3.5])
    assert curves["panoptic_seg/PQ"] == ([39], [10.0])


def test_a_line_cut_short_is_left_out_and_nan_is_kept(tmp_path):
    path = write_lines(tmp_path / "metrics.json", {"iteration": 1, "PQ": math.nan}, {"a": 1.0}, 7)
    path.write_text(path.read_text() + '{"iteration": 2, "PQ"')
    curves = read_curves(path)
    assert set(curves) == {"PQ"}
    assert curves["PQ"][0] == [1]
    assert math.isnan(curves["PQ"][1][0])


def test_missing_or_empty(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.json' does not exist"):
        read_curves(tmp_path / "metrics.json")
    with pytest.raises(ValueError, match="no line of figures"):
        read_curves(write_lines(tmp_path / "metrics.json"))


def image_of(tmp_path, curves) -> np.ndarray:
    draw_curves(curves, tmp_path / "curves.png")
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]
    with Image.open(tmp_path / "curves.png") as image:
        return np.asarray(image.convert("RGB"))


def test_one_panel_for_each_kind_of_figure(tmp_path):
    points = [0, 100, 200], [3.0, 2.0, 1.0]
    one = image_of(tmp_path, {"total_loss": points})
    three = image_of(tmp_path, {"total_loss": points, "lr": points, "class_score": points})
    five = image_of(
        tmp_path,
        {
            "total_loss": points,
            "lr": points,
            "mask_dice": points,
            "scenes_val/panoptic_seg/PQ_th": points,
            "loss_class": points,
        },
    )
    assert three.shape[1] == 3 * one.shape[1]
    assert (five.shape[0], five.shape[1]) == (2 * one.shape[0], three.shape[1])


@pytest.mark.parametrize(
    "drawn",
    [
        "loss_pq_class",
        "loss_pq_mask",
        "loss_mask_id",
        "loss_instance",
        "loss_semantic",
        "thing_loss_ce",
        "stuff_loss_dice",
    ],
)
def test_losses_of_every_architecture_share_a_panel(tmp_path, drawn):
    points = [0, 100], [3.0, 2.0]
    alone = image_of(tmp_path, {"loss_mask": points})
    both = image_of(tmp_path, {"loss_mask": points, drawn: ([0, 100], [2.0, 3.0])})
    assert both.shape == alone.shape and not np.array_equal(both, alone)


def test_what_the_figure_of_max_deeplab_shows(tmp_path):
    """Of a training whose lines are those of MaX-DeepLab: four panels, one is of the accuracy."""
    losses = dict.fromkeys(["loss_pq_class", "loss_pq_mask", "loss_mask_id", "loss_instance"], 0.5)
    entry = {"total_loss": 2.0, **losses, "mask_id_accuracy": 0.25, "lr": 0.001, "time": 0.2}
    file = tmp_path / "curves.png"
    curves = read_curves(write_lines(file, {"iteration": 19, **entry}, {"iteration": 39, **entry}))
    panel = image_of(tmp_path, {"lr": curves["lr"]})
    rows, columns = (
        a // b for a, b in zip(image_of(tmp_path, curves).shape[:2], panel.shape[:2], strict=True)
    )
    assert (rows, columns) == (2, 3)
    without = {name: points for name, points in curves.items() if name != "mask_id_accuracy"}
    assert image_of(tmp_path, without).shape[0] == panel.shape[0]


@pytest.mark.parametrize(
    "left_out", ["loss_class_2", "panoptic_seg/PQ-disc", "panoptic_seg/SQ", "time", "eta_seconds"]
)
def test_what_would_only_clutter_is_left_out(tmp_path, left_out):
    points = [0, 100], [3.0, 2.0]
    total = {"total_loss": points}
    alone, both = image_of(tmp_path, total), image_of(tmp_path, {**total, left_out: points})
    np.testing.assert_array_equal(alone, both)


def test_impossible_values_do_not_stop_the_drawing(tmp_path):
    iterations = [0, 1, 2, 3]
    image_of(tmp_path, {"total_loss": (iterations, [math.nan, math.inf, 0.0, 1.0])})

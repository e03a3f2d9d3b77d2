"""Reading a training's metrics.json."""

import json
import math

import pytest

from d2_psformer.d2.utils import EventStorage
from d2_psformer.engine.writers import MetricsFile
from d2_psformer.visualization.curves import panels, read_curves


def write_lines(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_reads_what_the_writer_writes(tmp_path):
    path = tmp_path / "metrics.json"
    writer = MetricsFile(str(path))
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


def test_one_panel_for_each_kind_of_figure():
    points = [0, 100, 200], [3.0, 2.0, 1.0]
    names = ["total_loss", "lr", "mask_dice", "class_score", "scenes_val/panoptic_seg/PQ_th"]
    found = {title: [*lines] for title, _, lines in panels(dict.fromkeys(names, points))}
    assert found == {
        "Total loss": ["total_loss"],
        "Matched things: class score, mask dice": ["mask_dice", "class_score"],
        "Panoptic quality, %": ["scenes_val/panoptic_seg/PQ_th"],
        "Learning rate": ["lr"],
    }


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
def test_losses_of_every_architecture_share_a_panel(drawn):
    points = [0, 100], [3.0, 2.0]
    ((_, _, lines),) = panels({"loss_mask": points, drawn: points})
    assert set(lines) == {"loss_mask", drawn}


def test_what_the_figure_of_max_deeplab_shows(tmp_path):
    """Of a training whose lines are those of MaX-DeepLab: four panels, one is of the accuracy."""
    losses = dict.fromkeys(["loss_pq_class", "loss_pq_mask", "loss_mask_id", "loss_instance"], 0.5)
    entry = {"total_loss": 2.0, **losses, "mask_id_accuracy": 0.25, "lr": 0.001, "time": 0.2}
    file = tmp_path / "curves.png"
    curves = read_curves(write_lines(file, {"iteration": 19, **entry}, {"iteration": 39, **entry}))
    assert len(panels(curves)) == 4
    del curves["mask_id_accuracy"]
    assert len(panels(curves)) == 3


@pytest.mark.parametrize(
    "left_out", ["loss_class_2", "panoptic_seg/PQ-disc", "panoptic_seg/SQ", "time", "eta_seconds"]
)
def test_what_would_only_clutter_is_left_out(left_out):
    assert panels({left_out: ([0, 100], [3.0, 2.0])}) == []

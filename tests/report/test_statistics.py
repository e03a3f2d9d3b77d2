"""Counts of a report against torchmetrics."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.functional.segmentation import mean_iou

from d2_psformer import report
from d2_psformer.classes import Classes
from d2_psformer.report.charts import reliability
from d2_psformer.report.statistics import Statistics, iou_of_classes, match_segments
from d2_psformer.report.tables import confusion_table
from d2_psformer.utils.errors import UserError

CLASSES = Classes(
    thing_ids=(0, 1),
    stuff_ids=(2, 3),
    names=("cat", "dog", "sky", "sea"),
    colors=((250, 0, 0), (0, 250, 0), (0, 0, 250), (99, 99, 99)),
    category_ids={0: 10, 1: 20, 2: 30, 3: 40},
)


def blocks(seed: int, with_void: bool = True):
    """A random map of 12 x 16 blocks of four classes, each a segment, and perhaps void."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0 if with_void else 1, 5, (3, 4)).repeat(4, 0).repeat(4, 1)
    segments = [
        {"id": int(k), "category_id": int(k) - 1, "isthing": bool(k < 3), "score": rng.random()}
        for k in np.unique(labels[labels > 0])
    ]
    return labels.astype(np.int32), segments


def counted(kind: str, with_void: bool, count: int = 20):
    statistics = Statistics(CLASSES, kind)
    pairs = [(blocks(k, with_void), blocks(100 + k, with_void)) for k in range(count)]
    for truth, predicted in pairs:
        statistics.add("image", truth, predicted)
    return statistics, pairs


def stacked(pairs) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of all images: truth, prediction; 0 is void."""
    both = (np.stack([pair[side][0] for pair in pairs]) for side in (0, 1))
    return tuple(torch.from_numpy(ids).long() for ids in both)


def test_confusion_of_pixels():
    statistics, pairs = counted("panoptic", with_void=True)
    truth, predicted = stacked(pairs)
    theirs = multiclass_confusion_matrix(predicted, truth, num_classes=5).numpy()
    np.testing.assert_array_equal(statistics.confusion, np.roll(theirs, -1, axis=(0, 1)))


def test_iou_of_classes():
    statistics, pairs = counted("semantic", with_void=False)
    truth, predicted = (ids.flatten()[None] - 1 for ids in stacked(pairs))
    theirs = mean_iou(predicted, truth, num_classes=4, per_class=True, input_format="index")
    np.testing.assert_allclose(iou_of_classes(statistics.confusion), theirs[0], rtol=1e-6)


def test_expected_calibration_error():
    statistics, pairs = counted("panoptic", with_void=False)
    scores, right = [], []
    for truth, predicted in pairs:
        matched = {found for _, found in match_segments(truth, predicted, CLASSES)}
        scores += [segment["score"] for segment in predicted[1]]
        right += [segment["id"] in matched for segment in predicted[1]]
    found = reliability(statistics)
    assert found["count"] == len(scores)
    assert sum(b["count"] for b in found["bins"]) == len(scores)
    metric = BinaryCalibrationError(n_bins=10, norm="l1")
    theirs = metric(torch.tensor(scores), torch.tensor(right).long())
    assert found["error"] == pytest.approx(100 * float(theirs), abs=1e-3)


def test_a_perfect_prediction():
    statistics = Statistics(CLASSES, "panoptic")
    truth = blocks(0)
    statistics.add("image", truth, truth)
    (image,) = statistics.images.values()
    assert image.quality == pytest.approx(100)
    assert image.confused == 0
    assert confusion_table(statistics)["pairs"] == []


def test_an_image_without_annotation_has_no_quality():
    statistics = Statistics(CLASSES, "panoptic")
    statistics.add("image", (np.zeros((4, 4), np.int32), []), (np.zeros((4, 4), np.int32), []))
    (image,) = statistics.images.values()
    assert np.isnan([image.quality, image.confused]).all()


def test_crowds_count_nowhere():
    ids = np.full((4, 4), 7, np.int32)
    crowd = {"id": 7, "category_id": 0, "isthing": True, "iscrowd": 1}
    found = {"id": 7, "category_id": 1, "isthing": True, "score": 0.5}
    statistics = Statistics(CLASSES, "panoptic")
    statistics.add("image", (ids, [crowd]), (ids, [found]))
    assert statistics.confusion.sum() == 0


def test_many_classes_are_put_together():
    count = 50
    classes = Classes(
        thing_ids=(),
        stuff_ids=tuple(range(count)),
        names=tuple(f"class {k}" for k in range(count)),
        category_ids={k: k for k in range(count)},
    )
    statistics = Statistics(classes, "semantic")
    rng = np.random.default_rng(0)
    statistics.confusion[:count, :count] = rng.integers(1, 9, (count, count))
    table = confusion_table(statistics)
    assert len(table["columns"]) == 21
    assert table["columns"][-1] == "30 other classes"
    assert sum(row["pixels"] for row in table["rows"]) == statistics.confusion.sum()
    for row in table["rows"]:
        assert sum(cell["value"] for cell in row["cells"]) == pytest.approx(100)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("dog", "cat", "sky"), "first thing 'dog' and thing 'cat'"),
        (("cat", "dog"), "first none and stuff 'sky'"),
        (("cat", "dog", "sea"), "first stuff 'sea' and stuff 'sky'"),
    ],
)
def test_models_of_other_classes_are_not_compared(names, message):
    def run(names, weights):
        classes = Classes((0, 1), tuple(range(2, len(names))), names)
        model = SimpleNamespace(WEIGHTS=weights)
        return SimpleNamespace(
            statistics=SimpleNamespace(classes=classes), cfg=SimpleNamespace(MODEL=model)
        )

    first = run(("cat", "dog", "sky"), "a.pth")
    report._check_classes([first, first])
    with pytest.raises(UserError, match=rf"'b\.pth' and 'a\.pth' differ, {message}: compare"):
        report._check_classes([first, run(names, "b.pth")])

"""What a report counts while a model goes over a data set, image by image."""

import math
from dataclasses import dataclass, field

import numpy as np

from ..classes import Classes, unique_names
from ..engine.result_segments import Segments
from ..evaluation import PanopticQuality
from ..evaluation.pq_counter import Outcome
from ..evaluation.pq_segments import joint_histogram

BINS = 10  # of scores


@dataclass(frozen=True)
class ImageFigures:
    """Figures of one image.

    Attributes:
        quality: PQ, or the mean IoU of semantic data, in percent; NaN where nothing is to be found.
        confused: percent of the annotated pixels that have another class than the truth.
        classes: contiguous ids of those in the ground truth or the prediction.
    """

    quality: float
    confused: float
    classes: frozenset[int]


@dataclass
class Statistics:
    """Counts over images; their size does not depend on the size or number of segments.

    Attributes:
        images: by file name.
        kind: of the ground truth, "panoptic", "semantic" or "instance".
        confusion: int64 (K + 1, K + 1), pixels of each class of the truth (row) that were given
            each class (column); the last is void. Crowd regions count nowhere.
        scored, right, score_sum: (BINS,): predicted segments by their scores, those among them that
            match a segment of the truth (IoU above 0.5, same class), and the sums of their scores.
    """

    classes: Classes
    kind: str
    images: dict[str, ImageFigures] = field(default_factory=dict)

    def __post_init__(self):
        count = self.classes.num_classes
        self.quality = _counter(self.classes)
        self.confusion = np.zeros((count + 1, count + 1), np.int64)
        self.scored, self.right = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        self.score_sum = np.zeros(BINS)

    def add(self, name: str, truth: Segments, predicted: Segments) -> None:
        """Count one image; ``name`` is its file."""
        one = _counter(self.classes)
        outcome = one.add(name, *truth, *predicted)
        self.quality += one
        confusion = _confusion(name, truth, predicted, self.classes.num_classes)
        self.confusion += confusion
        self._add_scores(outcome, predicted[1])
        annotated = confusion[:-1].sum()
        wrong = annotated - np.trace(confusion[:-1])
        ious = iou_of_classes(confusion)
        is_semantic = self.kind == "semantic"
        quality = _mean(ious) if is_semantic else one.results()["All"]["pq"]
        segments = [*truth[1], *predicted[1]]
        self.images[name] = ImageFigures(
            100 * quality,
            100 * wrong / annotated if annotated else math.nan,
            frozenset(int(segment["category_id"]) for segment in segments),
        )

    def _add_scores(self, outcome: Outcome, segments_info: list[dict]) -> None:
        right = {predicted for _, predicted in outcome.matched}
        for segment in segments_info:
            is_counted = segment["id"] in right or segment["id"] in outcome.false
            if "score" in segment and is_counted:
                place = min(int(segment["score"] * BINS), BINS - 1)
                self.scored[place] += 1
                self.right[place] += segment["id"] in right
                self.score_sum[place] += segment["score"]


def match_segments(truth: Segments, predicted: Segments, classes: Classes) -> list[tuple[int, int]]:
    """(ground-truth id, predicted id) of segments of one class with an IoU above 0.5."""
    return [*_counter(classes).add("of the picture", *truth, *predicted).matched]


def image_quality(metadata, truth: Segments, predicted: Segments) -> float:
    """Panoptic quality of one image in percent; both as (ids, segments_info)."""
    quality = _counter(Classes.from_metadata(metadata))
    quality.add("of the picture", *truth, *predicted)
    return 100 * quality.results()["All"]["pq"]


def class_names(classes: Classes) -> list[str]:
    """The names of classes, each different: those of the same name have their category id, too."""
    return unique_names(classes.names, map(classes.category_ids.get, range(classes.num_classes)))


def iou_of_classes(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class (K,) without pixels of no annotation; NaN where it does not occur."""
    known = confusion[:-1]
    right = np.diagonal(known)
    union = known.sum(axis=1) + known[:, :-1].sum(axis=0) - right
    return np.divide(right, union, out=np.full(len(right), math.nan), where=union > 0)


def _mean(values: np.ndarray) -> float:
    """The mean without NaN; NaN of nothing."""
    found = values[~np.isnan(values)]
    return float(found.mean()) if found.size else math.nan


def _counter(classes: Classes) -> PanopticQuality:
    """A counter with contiguous category ids."""
    places = range(classes.num_classes)
    return PanopticQuality(
        {"id": i, "name": classes.names[i], "isthing": i in classes.thing_ids} for i in places
    )


def _confusion(name: str, truth: Segments, predicted: Segments, num_classes: int) -> np.ndarray:
    crowds = {s["id"] for s in truth[1] if s.get("iscrowd", 0)}
    true_class, predicted_class = (
        {s["id"]: int(s["category_id"]) for s in segments} for segments in (truth[1], predicted[1])
    )
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    for (true_id, predicted_id), pixels in joint_histogram(name, truth[0], predicted[0]).items():
        if true_id not in crowds:
            row, column = true_class.get(true_id, -1), predicted_class.get(predicted_id, -1)
            counts[row, column] += pixels
    return counts

"""Where a prediction is wrong, and how."""

import numpy as np

from ..classes import Classes
from ..data.segments import label_segments
from ..engine.result_segments import Segments
from .statistics import match_segments

# Colours that the colour-blind tell apart (Okabe and Ito, "Color Universal Design", 2008).
MEANINGS = {
    "wrong class": (213, 94, 0),
    "right class, no match": (240, 228, 66),
    "not found": (0, 114, 178),
    "not annotated": (20, 20, 20),
}


def draw_errors(
    image: np.ndarray, truth: Segments, predicted: Segments, classes: Classes
) -> np.ndarray:
    """The image in pale grey, with wrong pixels in the colours of MEANINGS.

    A pixel is right where its segments of both sides match: same class, IoU above 0.5.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    true_labels, true_classes = _labels(truth)
    labels, found_classes = _labels(predicted)
    matched = np.zeros((len(true_classes), len(found_classes)), bool)
    true_place, place = (
        {s["id"]: k for k, s in enumerate(side[1], start=1)} for side in (truth, predicted)
    )
    for true_id, found_id in match_segments(truth, predicted, classes):
        matched[true_place[true_id], place[found_id]] = True
    same_class = true_classes[true_labels] == found_classes[labels]
    crowds = np.array([False, *(bool(s.get("iscrowd", 0)) for s in truth[1])])
    cases = {
        "not annotated": (true_labels == 0) | crowds[true_labels],
        "not found": labels == 0,
        "wrong class": ~same_class,
        "right class, no match": ~matched[true_labels, labels],
    }
    grey = 110 + 0.55 * image.mean(axis=2, keepdims=True)
    picture = np.repeat(grey, 3, axis=2)
    done = np.zeros(labels.shape, bool)
    for meaning, where in cases.items():  # the first that holds for a pixel counts
        fresh = where & ~done
        picture[fresh] = 0.25 * picture[fresh] + 0.75 * np.array(MEANINGS[meaning])
        done |= where
    return picture.clip(0, 255).astype(np.uint8)


def _labels(segments: Segments) -> tuple[np.ndarray, np.ndarray]:
    """A label map, and the class of each label, -1 for void."""
    ids, segments_info = segments
    labels = label_segments(ids, [segment["id"] for segment in segments_info])
    return labels, np.array([-1, *(segment["category_id"] for segment in segments_info)])

"""Ground truth and results of every kind as segments that can be drawn."""

from typing import Any

import numpy as np
import torch

from ..classes import Classes
from ..data.coco_instances import decode_outline
from ..data.reading import IGNORED, Record, read_class_map, read_segment_ids

# Segment ids (H, W), 0 = void, and segments_info.
Segments = tuple[np.ndarray, list[dict[str, Any]]]


def segments_of_record(record: Record, size: tuple[int, int], kind: str) -> Segments:
    """The ground truth of an image.

    Args:
        size: height and width of the upright image.
        kind: "panoptic", "semantic" or "instance".
    """
    if kind == "panoptic":
        return read_segment_ids(record, size), record["segments_info"]
    if kind == "semantic":
        return _segments_of_classes(read_class_map(record, size))
    annotations = [a for a in record["annotations"] if not a.get("iscrowd", 0)]
    masks = [decode_outline(a["segmentation"], size) for a in annotations]
    return _segments_of_masks(masks, [a["category_id"] for a in annotations], size)


def segments_of_results(
    results: dict[str, Any], metadata, least_score: float | None = None
) -> Segments:
    """The one result of a model for an image.

    Args:
        results: of a model that makes one kind of result.
        metadata: of the model's classes.
        least_score: of instances; None for 0.5.
    """
    if "panoptic_seg" in results:
        ids, segments_info = results["panoptic_seg"]
        return ids.cpu().numpy(), segments_info
    if "sem_seg" in results:
        return _segments_of_classes(results["sem_seg"].argmax(dim=0).cpu().numpy())
    found = results["instances"].to("cpu")
    things = found.pred_classes.new_tensor(Classes.from_metadata(metadata).thing_ids)
    least_score = 0.5 if least_score is None else least_score
    found = found[(found.scores >= least_score) & torch.isin(found.pred_classes, things)]
    ids, segments = _segments_of_masks(
        found.pred_masks.numpy(), found.pred_classes, found.image_size
    )
    scores = found.scores.tolist()
    return ids, [{**segment, "score": scores[segment["id"] - 1]} for segment in segments]


def _segments_of_classes(labels: np.ndarray) -> Segments:
    present = np.unique(labels[labels != IGNORED]).tolist()
    segments = [{"id": c + 1, "category_id": c, "isthing": False} for c in present]
    return np.where(labels == IGNORED, 0, labels + 1), segments


def _segments_of_masks(masks, classes, size: tuple[int, int]) -> Segments:
    """Masks that may overlap; small ones lie on top."""
    ids = np.zeros(size, np.int32)
    order = sorted(range(len(masks)), key=lambda k: -int(masks[k].sum()))
    for k in order:
        ids[masks[k]] = k + 1
    visible = np.unique(ids[ids > 0]).tolist()
    return ids, [{"id": i, "category_id": int(classes[i - 1]), "isthing": True} for i in visible]

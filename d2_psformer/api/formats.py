"""Segments in the formats of other packages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as mask_util

from ..data.described_segments import Segment
from ..utils.errors import UserError

if TYPE_CHECKING:
    from supervision import Detections


def coco_annotations(
    ids: np.ndarray[Any, Any], segments: Sequence[Segment], image_id: int | str
) -> list[dict[str, Any]]:
    """One annotation of COCO's JSON for each segment, see :meth:`PanopticResult.to_coco`."""
    annotations = []
    for segment in segments:
        runs = mask_util.encode(np.asfortranarray(ids == segment.id, np.uint8))
        mask = {"size": list(ids.shape), "counts": runs["counts"].decode()}
        annotations.append(
            {**segment.to_json(), "image_id": image_id, "segmentation": mask, "iscrowd": 0}
        )
    return annotations


def detections(ids: np.ndarray[Any, Any], segments: Sequence[Segment]) -> "Detections":
    """Segments for supervision, see :meth:`PanopticResult.to_supervision`."""
    try:
        from supervision import Detections
    except ImportError as error:
        raise UserError("supervision is not installed: pip install supervision.") from error

    if not segments:
        return Detections.empty()
    scores = [segment.score for segment in segments]
    return Detections(
        xyxy=np.array([segment.box for segment in segments], np.float32),
        mask=np.stack([ids == segment.id for segment in segments]),
        confidence=None if None in scores else np.array(scores, np.float32),
        class_id=np.array([segment.class_index for segment in segments]),
        data={
            "class_name": np.array([segment.class_name for segment in segments]),
            "category_id": np.array([segment.category_id for segment in segments]),
            "is_thing": np.array([segment.is_thing for segment in segments]),
        },
    )

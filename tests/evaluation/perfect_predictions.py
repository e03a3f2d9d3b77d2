"""What a model that is right would give; in a module of its own, so that processes can share it."""

import numpy as np
import torch

from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data import read_panoptic_png, semantic_from_panoptic


def predict_record(record, shift=0, num_classes=None):
    ids = np.roll(read_panoptic_png(record["pan_seg_file_name"]), shift, axis=1)
    output = {}
    if num_classes:  # crowds have their class, too
        labels = semantic_from_panoptic(ids, record["segments_info"], ignore_label=num_classes)
        labels = torch.from_numpy(labels.astype(np.int64))
        output["sem_seg"] = (labels == torch.arange(num_classes)[:, None, None]).to(torch.uint8)
    segments = [s for s in record["segments_info"] if not s["iscrowd"]]
    ids[~np.isin(ids, [s["id"] for s in segments])] = 0
    things = [s for s in segments if s["isthing"]]
    masks = torch.stack([torch.from_numpy(ids == s["id"]) for s in things]) if things else None
    output["panoptic_seg"] = (
        torch.from_numpy(ids),
        [{k: s[k] for k in ("id", "category_id", "isthing")} | {"score": 0.9} for s in segments],
    )
    output["instances"] = _instances(ids.shape, things, masks)
    return output


def _instances(size, things, masks):
    instances = Instances(size)
    if masks is None:
        masks = torch.zeros(0, *size, dtype=torch.bool)
    boxes = torch.zeros(len(things), 4)
    for row, mask in enumerate(masks):
        y, x = mask.nonzero(as_tuple=True)
        boxes[row] = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
    instances.pred_boxes = Boxes(boxes)
    instances.pred_masks = masks
    instances.scores = torch.full((len(things),), 0.9)
    instances.pred_classes = torch.tensor([s["category_id"] for s in things], dtype=torch.long)
    return instances

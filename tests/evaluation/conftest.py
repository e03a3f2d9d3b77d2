"""Small panoptic data sets on disk, real ones where they are at hand, and predictions for them."""

import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data import (
    read_panoptic_png,
    register_panoptic,
    semantic_from_panoptic,
    write_panoptic_png,
)

ROOT = Path(__file__).resolve().parents[2]
CATEGORIES = [
    {"id": 3, "name": "sky", "isthing": 0},
    {"id": 5, "name": "ball", "isthing": 1},
    {"id": 12, "name": "grass", "isthing": 0},
    {"id": 40, "name": "cube", "isthing": 1},
]
_serial = itertools.count()


@pytest.fixture
def make_panoptic(tmp_path):
    """A function that writes and registers a data set: bands of stuff, boxes, a crowd, void."""
    registered = []

    def make(categories=CATEGORIES, num_images=4, things=True, stuff=True):
        name = f"toy_panoptic_{next(_serial)}"
        root = tmp_path / name
        rng = np.random.default_rng(0)
        annotations = []
        for number in range(num_images):
            ids, segments = _scene(rng, categories, things, stuff)
            write_panoptic_png(root / "panoptic" / f"{number}.png", ids)
            (root / "images").mkdir(exist_ok=True)
            Image.new("RGB", ids.shape[::-1]).save(root / "images" / f"{number}.jpg")
            annotations.append(
                {"image_id": 100 + number, "file_name": f"{number}.png", "segments_info": segments}
            )
        content = {"annotations": annotations, "categories": categories}
        (root / "panoptic.json").write_text(json.dumps(content))
        register_panoptic(name, root / "images", root / "panoptic.json", root / "panoptic")
        registered.append(name)
        return SimpleNamespace(
            name=name, json=str(root / "panoptic.json"), folder=str(root / "panoptic")
        )

    yield make
    for name in registered:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def _scene(rng, categories, things, stuff):
    """Segment ids (40, 56) and their segments_info; every category once, the first thing twice."""
    ids = np.zeros((40, 56), np.int64)
    segments = {}
    stuff_ids = [c["id"] for c in categories if not c["isthing"]] if stuff else []
    thing_ids = [c["id"] for c in categories if c["isthing"]] if things else []
    for row, category_id in enumerate(stuff_ids):
        segments[1000 + row] = {"category_id": category_id, "iscrowd": 0}
        ids[12 * row : 12 * (row + 1)] = 1000 + row
    for place, category_id in enumerate(thing_ids + thing_ids[:1]):
        segment_id = 70000 + int(rng.integers(1000)) * 10 + place
        y, x = int(rng.integers(2, 20)), 2 + 15 * place
        ids[y : y + 12, x : x + 11] = segment_id
        segments[segment_id] = {"category_id": category_id, "iscrowd": 0}
    if thing_ids:
        ids[36:, 30:] = 999
        segments[999] = {"category_id": thing_ids[0], "iscrowd": 1}
    areas = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    return ids, [{"id": i, "area": int(areas[i]), **s} for i, s in segments.items()]


@pytest.fixture
def coco_real():
    """The registered name of the real COCO images."""
    folder = Path(os.environ.get("PSFORMER_REAL_DATA", ROOT / "../shared/coco_real"))
    if not (folder / "panoptic.json").is_file():
        pytest.skip("no real COCO images: set PSFORMER_REAL_DATA")
    name = f"coco_real_{next(_serial)}"
    register_panoptic(name, folder / "images", folder / "panoptic.json", folder / "panoptic")
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.fixture
def predict():
    """A function: record -> the outputs of a model that is right, or ``shift`` pixels off."""
    return predict_record


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

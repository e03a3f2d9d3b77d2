"""Small panoptic data sets on disk, real ones where they are at hand, and predictions for them."""

import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from perfect_predictions import predict_record
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic, write_panoptic_png

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

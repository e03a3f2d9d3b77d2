"""A small panoptic data set on disk, made anew for each test that asks for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_psformer import add_psformer_config
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import register_panoptic

# Deliberately unsorted, with gaps, stuff before things.
CATEGORIES = [
    {"id": 40, "name": "sky", "isthing": 0, "color": [10, 20, 30]},
    {"id": 7, "name": "dog", "isthing": 1},
    {"id": 3, "name": "cat", "isthing": 1, "color": [200, 0, 0]},
    {"id": 12, "name": "grass", "isthing": 0},
]


def encode(ids: np.ndarray) -> np.ndarray:
    """The COCO encoding, written independently of the package."""
    rgb = np.zeros((*ids.shape, 3), np.uint8)
    for channel in range(3):
        rgb[..., channel] = (ids >> (8 * channel)) & 255
    return rgb


class TinyDataset:
    """Folders ``images`` and ``panoptic`` and the parts of ``panoptic.json``."""

    def __init__(self, root: Path):
        self.root = root
        self.images, self.panoptic = root / "images", root / "panoptic"
        self.json = root / "panoptic.json"
        self.images.mkdir()
        self.panoptic.mkdir()
        self.content = {"images": [], "annotations": [], "categories": CATEGORIES}

    def add(self, ids, segments, *, image_id=None, extension=".png", image=None, exif=None) -> str:
        """Add an image; ``segments`` are (id, category id) or (id, category id, iscrowd)."""
        image_id = len(self.content["images"]) + 1 if image_id is None else image_id
        ids = np.asarray(ids)
        if image is None:
            image = np.random.default_rng(0).integers(0, 256, (*ids.shape, 3)).astype(np.uint8)
        name = f"picture_{image_id}"
        options = {"exif": exif} if exif is not None else {}
        Image.fromarray(image).save(self.images / f"{name}{extension}", **options)
        Image.fromarray(encode(ids)).save(self.panoptic / f"{name}.png")
        height, width = ids.shape
        self.content["images"].append(
            {"id": image_id, "file_name": f"{name}{extension}", "height": height, "width": width}
        )
        self.content["annotations"].append(
            {
                "image_id": image_id,
                "file_name": f"{name}.png",
                "segments_info": [
                    {"id": s[0], "category_id": s[1], "iscrowd": s[2] if len(s) > 2 else 0}
                    for s in segments
                ],
            }
        )
        return name

    def write(self) -> None:
        self.json.write_text(json.dumps(self.content))

    def register(self, name: str = "tiny") -> str:
        self.write()
        register_panoptic(name, self.images, self.json, self.panoptic)
        return name

    def records(self) -> list[dict]:
        return DatasetCatalog.get(self.register())


@pytest.fixture
def tiny(tmp_path):
    return TinyDataset(tmp_path)


@pytest.fixture(autouse=True)
def _clean_catalogs(clean_catalogs):
    pass


@pytest.fixture
def cfg():
    """Config with this project's keys, no resize and no flip."""
    config = get_cfg()
    add_psformer_config(config)
    config.INPUT.FORMAT = "RGB"
    config.INPUT.MIN_SIZE_TRAIN, config.INPUT.MIN_SIZE_TEST = (0,), 0
    config.INPUT.RANDOM_FLIP = "none"
    return config

"""Semantic and instance data sets written to disk, for tests of everything that reads them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

H, W = 24, 32
CATEGORIES = [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}]  # not in the order of their ids
OUTLINE = [[2, 2, 12, 2, 12, 10, 2, 10]]


def write_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (H, W, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")


def write_semantic(root: Path, count: int = 2, num_classes: int = 3) -> list[np.ndarray]:
    """``images/*.jpg`` and ``labels/*.png`` with some ignored pixels; returns the labels."""
    write_images(root / "images", count)
    (root / "labels").mkdir()
    every = []
    for number in range(count):
        labels = np.random.default_rng(number).integers(0, num_classes, (H // 4, W // 4))
        labels = labels.repeat(4, 0).repeat(4, 1).astype(np.uint8)
        labels[:3] = 255
        Image.fromarray(labels).save(root / "labels" / f"{number}.png")
        every.append(labels)
    return every


def annotation(number: int, image_id: int, category_id: int, segmentation=OUTLINE, **more) -> dict:
    """One of 10 by 8 pixels unless it has another outline."""
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [2, 2, 10, 8],
        "area": 80,
        "iscrowd": 0,
        "segmentation": segmentation,
        **more,
    }


def instance_content() -> dict:
    """Two images: a dog and a cat as polygon and run lengths; one cat."""
    right = {"size": [H, W], "counts": [H * 20, H * (W - 20)]}  # column by column
    return {
        "images": [
            {"id": 1 + number, "file_name": f"{number}.jpg", "height": H, "width": W}
            for number in range(2)
        ],
        "categories": CATEGORIES,
        "annotations": [
            annotation(1, 1, 9),
            annotation(2, 1, 4, right, bbox=[20, 0, W - 20, H], area=H * (W - 20)),
            annotation(3, 2, 4),
        ],
    }


def write_instances(root: Path, content: dict | None = None) -> Path:
    """``images/*.jpg`` and ``instances.json``, whose path is returned."""
    write_images(root / "images", 2)
    path = root / "instances.json"
    path.write_text(json.dumps(content or instance_content()))
    return path

"""A data set of images as large as COCO's, made for one measurement."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.preparation import write_annotation
from d2_psformer.data.scenes import SCENES_CATEGORIES, generate_scene
from d2_psformer.utils.files import read_json, write_json

HEIGHT, WIDTH = 480, 640
DISTINCT_SCENES = 16
JPEG_QUALITY = 95


def add_dataset_options(parser: argparse.ArgumentParser, images: int) -> None:
    parser.add_argument(
        "--images", type=int, default=images, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--real-data",
        type=Path,
        default=os.environ.get("PSFORMER_REAL_DATA"),
        metavar="DIR",
        help="folder with images, panoptic.json and panoptic, of which copies are taken in turn "
        "(default: $PSFORMER_REAL_DATA, else generated scenes)",
    )


@contextmanager
def coco_sized(options: argparse.Namespace) -> Iterator[str]:
    """Write and register ``options.images`` images; gives the name, which is the folder, too.

    Both are gone afterwards.
    """
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name), options)
        register_panoptic(name, f"{name}/images", f"{name}/panoptic.json", f"{name}/panoptic")
        try:
            yield name
        finally:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def _write(folder: Path, options: argparse.Namespace) -> None:
    source = options.real_data or _write_scenes(folder / "scenes")
    content = read_json(source / "panoptic.json")
    known = {image["id"]: image["file_name"] for image in content["images"]}
    annotations, images = [], []
    for number in range(options.images):
        origin = content["annotations"][number % len(content["annotations"])]
        name = f"{number:06d}"
        _copy(source / "images" / known[origin["image_id"]], folder / "images" / f"{name}.jpg")
        _copy(source / "panoptic" / origin["file_name"], folder / "panoptic" / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.jpg"})
        annotations.append({**origin, "image_id": number, "file_name": f"{name}.png"})
    content |= {"images": images, "annotations": annotations}
    write_json(folder / "panoptic.json", content)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write_scenes(folder: Path) -> Path:
    """Generated scenes are square: their upper part is taken."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in tqdm(range(DISTINCT_SCENES), desc="scenes", disable=None):
        image, ids, segments = generate_scene(number, size=max(HEIGHT, WIDTH))
        image, ids = image[:HEIGHT, :WIDTH], ids[:HEIGHT, :WIDTH]
        name = f"{number}.jpg"
        Image.fromarray(image).save(folder / "images" / name, quality=JPEG_QUALITY)
        images.append({"id": number, "file_name": name})
        seen = set(np.unique(ids).tolist())
        segments = [
            {key: segment[key] for key in ("id", "category_id", "iscrowd")}
            for segment in segments
            if segment["id"] in seen
        ]
        png = folder / "panoptic" / f"{number}.png"
        annotations.append(write_annotation(png, number, ids, segments))
    write_json(
        folder / "panoptic.json",
        {"images": images, "annotations": annotations, "categories": SCENES_CATEGORIES},
    )
    return folder

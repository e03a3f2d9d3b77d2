"""Writing of training and validation scenes to a folder in COCO-panoptic format."""

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ...utils.errors import UserError
from ...utils.files import read_json, write_json
from ...utils.locks import lock, unlock
from ...utils.parallel import map_with_progress
from ..panoptic_png import ids_to_rgb
from .categories import SCENES_CATEGORIES
from .generate import generate_scene
from .levels import find_level

GENERATOR_VERSION = 1  # raise it whenever any scene changes, so that old folders are made anew
MANIFEST = "scenes.json"
# Splits take their scenes from parts of the series that do not overlap.
FIRST_INDEX = {"train": 0, "val": 10_000_000}
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]


@dataclass(frozen=True)
class ScenesSpec:
    """The settings that determine every byte of a data set of scenes."""

    train: int = 4000
    val: int = 200
    size: int = 128
    seed: int = 0
    level: str = "standard"
    version: int = GENERATOR_VERSION

    def __post_init__(self):
        find_level(self.level)
        if self.size < 64:
            raise UserError(f"--size {self.size} is too small for outlines: use 64 or more.")
        if min(self.train, self.val, self.seed) < 0:
            raise UserError("--train, --val and --seed must not be negative.")
        if max(self.train, self.val) > FIRST_INDEX["val"]:
            raise UserError(f"A split holds at most {FIRST_INDEX['val']} scenes.")

    def described(self) -> dict:
        """The settings as the files have them; level "standard" is left out, as in older files."""
        fields = asdict(self)
        return {k: v for k, v in fields.items() if (k, v) != ("level", "standard")}


def write_scenes(root: str | Path, spec: ScenesSpec, workers: int = 0) -> bool:
    """Write the data set to ``root``, all of it or nothing; the same files for any ``workers``.

    Layout: ``{train,val}/*.jpg``, ``panoptic_{train,val}/*.png``, ``panoptic_{train,val}.json``
    and a manifest, ``scenes.json``.

    Returns:
        False when ``root`` held just this data set already and nothing was written.

    Raises:
        UserError: ``root`` holds something else than generated scenes.
    """
    root = Path(root).resolve()  # a link stays, what it leads to is replaced
    if _holds(root, spec):
        return False
    if root.exists() and not (root / MANIFEST).is_file() and any(root.iterdir()):
        raise UserError(
            f"{root} is not empty and has no {MANIFEST}: name another folder, or empty it."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    _remove_what_was_killed(root)
    partial_root = Path(tempfile.mkdtemp(prefix=f".{root.name}.partial-", dir=root.parent))
    held = lock(partial_root)
    try:
        for split in FIRST_INDEX:
            _write_split(partial_root, split, spec, workers)
        write_json(partial_root / MANIFEST, spec.described())
        partial_root.chmod(0o755)  # mkdtemp makes folders that only their owner may read
        if root.exists():
            shutil.rmtree(root)
        os.replace(partial_root, root)
    finally:
        unlock(held)
        shutil.rmtree(partial_root, ignore_errors=True)
    return True


def _remove_what_was_killed(root: Path) -> None:
    """Remove what processes that were killed have left of this data set."""
    for folder in root.parent.glob(f".{root.name}.partial-*"):
        with suppress(BlockingIOError):  # that of a live process
            held = lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            unlock(held)


def _holds(root: Path, spec: ScenesSpec) -> bool:
    try:
        return read_json(root / MANIFEST) == spec.described()
    except (OSError, ValueError):
        return False


def _write_split(root: Path, split: str, spec: ScenesSpec, workers: int) -> None:
    (root / split).mkdir()
    (root / f"panoptic_{split}").mkdir()
    count = getattr(spec, split)
    indices = range(FIRST_INDEX[split], FIRST_INDEX[split] + count)
    write = partial(_write_scene, root, split, spec)
    cv2.setNumThreads(0)  # scenes are too small for threads, and forked processes have none
    name = f"scenes, {split}"
    records = list(map_with_progress(write, indices, workers=workers, description=name))
    write_json(
        root / f"panoptic_{split}.json",
        {
            "info": {"description": "Generated scenes of d2_psformer", **spec.described()},
            "images": [image for image, _ in records],
            "annotations": [annotation for _, annotation in records],
            "categories": SCENES_CATEGORIES,
        },
    )


def _write_scene(root: Path, split: str, spec: ScenesSpec, index: int) -> tuple[dict, dict]:
    """Write one picture and its id map; returns their ``images`` and ``annotations`` entries."""
    image, ids, segments_info = generate_scene(index, spec.size, spec.seed, spec.level)
    picture, id_map = f"{index:08d}.jpg", f"{index:08d}.png"
    _write_image(root / split / picture, image, _JPEG)
    _write_image(root / f"panoptic_{split}" / id_map, ids_to_rgb(ids), [])
    return (
        {"id": index, "file_name": picture, "height": spec.size, "width": spec.size},
        {"image_id": index, "file_name": id_map, "segments_info": segments_info},
    )


def _write_image(path: Path, rgb: np.ndarray, options: list[int]) -> None:
    if not cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]), options):
        raise UserError(f"Could not write {path}: is the disk full?")

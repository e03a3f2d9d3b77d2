"""The shared part of the commands ``datasets/prepare_*.py``: loop over the files, and JSON."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..utils.errors import UserError
from ..utils.files import write_json
from ..utils.wording import counted
from .builtin import datasets_root
from .converters.journal import map_resumable
from .converters.records import stamped
from .converters.targets import (
    instance_annotations,
    write_instance_json,
    write_panoptic_annotation,
)

logger = logging.getLogger(__name__)


class Segments(NamedTuple):
    """The segments of one image: its panoptic annotation, and the things as COCO's instances."""

    annotation: dict[str, Any]
    instances: list[dict[str, Any]]


@dataclass(frozen=True)
class Preparation:
    """The conversion of one benchmark's own annotation to COCO's panoptic and instance formats.

    Attributes:
        folder: of the benchmark under ``$DETECTRON2_DATASETS``.
        sources: one glob per split, below that folder, with one hit per image.
        source_files: takes the benchmark's folder and one hit; returns the other files it needs.
        output: folder of the PNGs below that folder, with ``{split}``; the JSON is beside it.
        instances: path of the instance JSON below that folder, with ``{split}``.
        categories: of the panoptic JSON; the instance JSON has the things among them.
        convert: takes the benchmark's folder, the folder of the PNGs and one hit; writes the PNGs
            and returns the entry of that image for ``images``, and its segments.
    """

    folder: str
    sources: dict[str, str]
    source_files: Callable[[Path, Path], list[Path]]
    output: str
    instances: str
    categories: list[dict[str, Any]]
    convert: Callable[[Path, Path, Path], tuple[dict, Segments]]

    def run(
        self, root: Path | None, splits: Sequence[str], workers: int, force: bool = False
    ) -> None:
        """Convert the splits that are not there yet.

        A run that was killed goes on where it stopped when it is called again.

        Args:
            root: where the download is unpacked; default ``folder`` under the data sets' folder.
            workers: processes; 0 works in this one.
            force: make the splits that are there again.

        Raises:
            UserError: a file is missing, or does not hold what it should.
        """
        root = root or Path(datasets_root(), self.folder)
        splits = [split for split in splits if force or not self._is_there(root, split)]
        files = {split: self._find(root, split) for split in splits}
        for split, paths in files.items():
            self._convert_split(root, split, paths, workers)

    def _jsons(self, root: Path, split: str) -> tuple[Path, Path]:
        """The panoptic and the instance JSON, which are written last and in this order."""
        return (
            root / f"{self.output.format(split=split)}.json",
            root / self.instances.format(split=split),
        )

    def _is_there(self, root: Path, split: str) -> bool:
        is_there = all(path.exists() for path in self._jsons(root, split))
        if is_there:
            path = self._jsons(root, split)[0]
            logger.info("'%s' is there already: --force makes the split again", path)
        return is_there

    def _find(self, root: Path, split: str) -> list[Path]:
        """One file per image of a split, in order; all other files they need exist."""
        if not root.is_dir():
            raise UserError(
                f"Folder '{root}' does not exist: unpack the download there or name its folder "
                "with --root (see datasets/README.md)."
            )
        hits = sorted(root.glob(self.sources[split]))
        if not hits:
            raise UserError(
                f"There is no '{root / self.sources[split]}': unpack the download there, see "
                "datasets/README.md."
            )
        self._check_sources(root, split, hits)
        return hits

    def _check_sources(self, root: Path, split: str, hits: list[Path]) -> None:
        missing: dict[Path, list[str]] = {}
        for hit in hits:
            for path in self.source_files(root, hit):
                if not path.is_file():
                    missing.setdefault(path.parent, []).append(path.name)
        if missing:
            folder, names = next(iter(missing.items()))
            raise UserError(
                f"'{folder}' has no file for {len(names)} of {counted(len(hits), 'image')} of "
                f"{split}, the first is '{names[0]}': unpack its archive there, see "
                "datasets/README.md."
            )

    def _convert_split(self, root: Path, split: str, files: list[Path], workers: int) -> None:
        output = root / self.output.format(split=split)
        panoptic_json, instance_json = self._jsons(root, split)
        for path in (panoptic_json, instance_json):  # while it is made again, it is not there
            path.unlink(missing_ok=True)
        journal = output.with_name(f"{output.name}.partial.jsonl")
        entries = map_resumable(
            _ConvertImage(self, root, output),
            [(self._key(root, path), path) for path in files],
            journal,
            split,
            workers=workers,
            description=split,
            is_kept=lambda entry: (output / entry[1]["file_name"]).exists(),
        )
        images, annotations, instances = map(list, zip(*entries, strict=True))
        content = {"images": images, "annotations": annotations, "categories": self.categories}
        write_json(panoptic_json, content)
        write_instance_json(instance_json, images, instances, self.categories)
        journal.unlink()

    def _key(self, root: Path, path: Path) -> str:
        """Changes with the files of an image."""
        return "|".join(map(stamped, (path, *self.source_files(root, path))))


@dataclass(frozen=True)
class _ConvertImage:
    """Takes the path of an image, writes its files, returns a JSON value."""

    preparation: Preparation
    root: Path
    output: Path

    def __call__(self, path: Path) -> tuple[dict, dict, list[dict]]:
        image, segments = self.preparation.convert(self.root, self.output, path)
        return image, *segments


def write_segments(
    path: Path, image_id: int | str, ids: np.ndarray, segments: Sequence[dict[str, Any]]
) -> Segments:
    """Write the panoptic PNG of one image and describe its segments.

    Args:
        path: of the PNG.
        ids: integers (H, W); ids that ``segments`` does not list become void.
        segments: dicts with ``id``, ``category_id``, ``isthing`` and ``iscrowd``, each with pixels
            in ``ids``.

    Returns:
        Dicts of COCO's formats; their areas are in pixels, boxes [x, y, width, height].
    """
    annotation = write_panoptic_annotation(path, image_id, ids, segments)
    return Segments(annotation, instance_annotations(image_id, ids, segments))

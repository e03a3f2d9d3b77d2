"""What the commands ``datasets/prepare_*.py`` share: options, loop over the files, JSON."""

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..command_errors import told_in_one_sentence
from .files import write_json
from .panoptic_png import write_panoptic_png
from .parallel import map_with_progress
from .segments import label_segments, segment_areas, segment_boxes


@dataclass(frozen=True)
class Preparation:
    """How one benchmark's own annotation becomes COCO-panoptic annotation.

    Attributes:
        folder: of the benchmark under ``$DETECTRON2_DATASETS``.
        sources: one glob per split, below that folder, with one hit per image.
        output: folder of the PNGs below that folder, with ``{split}``; the JSON lies beside it.
        categories: of the JSON.
        convert: takes the benchmark's folder, the folder of the PNGs and one hit; writes the PNG
            and returns the entries of that image for ``images`` and ``annotations``.
    """

    folder: str
    sources: dict[str, str]
    output: str
    categories: list[dict[str, Any]]
    convert: Callable[[Path, Path, Path], tuple[dict, dict]]

    @told_in_one_sentence()
    def run(self, description: str, arguments: Sequence[str] | None = None) -> None:
        """The whole command: parse options and convert the splits, or end with one sentence."""
        options = self._parse(description, arguments)
        for split in options.splits:
            self._convert_split(options.root, split, options.workers)

    def _parse(self, description: str, arguments: Sequence[str] | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument(
            "--root",
            type=Path,
            default=Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / self.folder,
            metavar="DIR",
            help=f"where the download is unpacked (default: $DETECTRON2_DATASETS/{self.folder})",
        )
        splits = list(self.sources)
        parser.add_argument("--splits", nargs="+", choices=splits, default=splits)
        parser.add_argument(
            "--workers", type=int, default=os.cpu_count(), metavar="N", help="processes (all cores)"
        )
        return parser.parse_args(arguments)

    def _convert_split(self, root: Path, split: str, workers: int) -> None:
        files = sorted(root.glob(self.sources[split]))
        if not files:
            raise FileNotFoundError(
                f"There is no '{root / self.sources[split]}': unpack the download there, see "
                "datasets/README.md."
            )
        output = root / self.output.format(split=split)
        convert = partial(self.convert, root, output)
        entries = list(map_with_progress(convert, files, workers=workers, description=split))
        write_json(
            output.with_name(f"{output.name}.json"),
            {
                "images": [image for image, _ in entries],
                "annotations": [annotation for _, annotation in entries],
                "categories": self.categories,
            },
        )


def write_annotation(
    path: Path, image_id: int | str, ids: np.ndarray, segments: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Write the PNG of one image and return its entry for ``annotations`` of the JSON.

    Args:
        path: of the PNG.
        ids: integers (H, W); ids that ``segments`` does not list become void.
        segments: dicts with ``id``, ``category_id`` and ``iscrowd``, each with pixels in ``ids``;
            ``area`` (pixels) and ``bbox`` ([x, y, width, height]) are added.
    """
    numbers = [segment["id"] for segment in segments]
    labels = label_segments(ids, numbers)
    write_panoptic_png(path, np.array([0, *numbers])[labels])
    areas = segment_areas(labels, len(numbers)).tolist()
    boxes = segment_boxes(labels, len(numbers)).tolist()
    segments_info = [
        {**segment, "area": area, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for segment, area, (x0, y0, x1, y1) in zip(segments, areas, boxes, strict=True)
    ]
    return {"image_id": image_id, "file_name": path.name, "segments_info": segments_info}

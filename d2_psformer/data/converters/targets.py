"""What a conversion writes: COCO panoptic, COCO instances, or semantic PNGs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ...utils.errors import UserError
from ...utils.files import atomic_write, write_json
from ...utils.wording import counted
from ..panoptic_labels import instances_from_panoptic, semantic_from_panoptic
from ..panoptic_png import write_panoptic_png
from ..reading import IGNORED
from ..segments import label_segments, segment_areas, segment_boxes

Segments = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Target(ABC):
    """Writes one split of a data set in one format.

    Attributes:
        folder: of the data set.
        split: the split, which the names of the files contain.
        kind: the name of the format.
    """

    folder: Path
    split: str
    kind: ClassVar[str]

    @property
    def stem(self) -> Path:
        """The folder of the PNGs, and the path of the JSON without its ending."""
        return self.folder / f"{self.kind}_{self.split}"

    def png(self, image: dict) -> Path:
        """The path of the PNG of an image."""
        return self.stem / Path(image["file_name"]).with_suffix(".png")

    def is_written(self, image: dict) -> bool:
        """True if the files of an image are there."""
        return self.png(image).exists()

    def check(self, categories: Segments) -> None:  # noqa: B027  most formats hold all
        """Refuse, by a UserError, classes that the format does not hold."""

    @abstractmethod
    def write(self, image: dict, ids: np.ndarray, segments: Segments) -> Any:
        """Write the files of one image; runs in other processes.

        Args:
            image: its entry in ``images``: ``id``, ``file_name``, ``height``, ``width``.
            ids: integers (H, W), 0 is void.
            segments: dicts with ``id``, ``category_id``, ``isthing``, ``iscrowd``, ``place`` (in
                the categories) and perhaps ``score``, each with pixels.

        Returns:
            a JSON value for :meth:`finish`.
        """

    @abstractmethod
    def finish(self, images: Segments, written: Sequence[Any], categories: Segments) -> list:
        """Write what there is of a split; returns its files as in ``DATASETS.REGISTER``."""


class PanopticTarget(Target):
    """``panoptic_<split>.json`` and a folder of PNGs."""

    kind = "panoptic"

    def write(self, image: dict, ids: np.ndarray, segments: Segments) -> dict[str, Any]:
        path = self.png(image)
        annotation = write_panoptic_annotation(path, image["id"], ids, segments)
        return {**annotation, "file_name": path.relative_to(self.stem).as_posix()}

    def finish(self, images: Segments, written: Sequence[Any], categories: Segments) -> list:
        write_json(
            f"{self.stem}.json",
            {"images": images, "annotations": written, "categories": categories},
        )
        return [f"{self.stem}.json", str(self.stem)]


class InstanceTarget(Target):
    """``instances_<split>.json`` of the things, as run-length codes that do not overlap."""

    kind = "instances"

    def is_written(self, image: dict) -> bool:
        return True

    def write(self, image: dict, ids: np.ndarray, segments: Segments) -> list[dict[str, Any]]:
        return instance_annotations(image["id"], ids, segments)

    def check(self, categories: Segments) -> None:
        if not any(category["isthing"] for category in categories):
            raise UserError("All classes are stuff, so there are no instances to write.")

    def finish(self, images: Segments, written: Sequence[Any], categories: Segments) -> list:
        write_instance_json(f"{self.stem}.json", images, written, categories)
        return [f"{self.stem}.json"]


class SemanticTarget(Target):
    """A folder of PNGs whose values are the places of the classes; 255 is void."""

    kind = "semantic"

    def check(self, categories: Segments) -> None:
        if not 1 < len(categories) <= IGNORED:
            raise UserError(
                f"The data set has {counted(len(categories), 'class')}, but semantic PNGs hold "
                f"2...{IGNORED}; of one class, the background needs another, see --background."
            )

    def write(self, image: dict, ids: np.ndarray, segments: Segments) -> None:
        classes = [{**segment, "category_id": segment["place"]} for segment in segments]
        with atomic_write(self.png(image)) as file:
            Image.fromarray(semantic_from_panoptic(ids, classes, IGNORED)).save(file, format="PNG")

    def finish(self, images: Segments, written: Sequence[Any], categories: Segments) -> list:
        return [str(self.stem), [category["name"] for category in categories]]


TARGETS = {target.kind: target for target in (PanopticTarget, InstanceTarget, SemanticTarget)}


def write_panoptic_annotation(
    path: Path, image_id: int | str, ids: np.ndarray, segments: Segments
) -> dict[str, Any]:
    """Write the panoptic PNG of one image; returns its entry in ``annotations``.

    Args:
        path: of the PNG.
        ids: integers (H, W); ids that ``segments`` does not list become void.
        segments: dicts with ``id``, ``category_id``, ``iscrowd`` and perhaps ``score``, each with
            pixels in ``ids``.
    """
    numbers = [segment["id"] for segment in segments]
    labels = label_segments(ids, numbers)
    write_panoptic_png(path, np.array([0, *numbers])[labels])
    areas = segment_areas(labels, len(numbers)).tolist()
    boxes = segment_boxes(labels, len(numbers)).tolist()
    keys = ("id", "category_id", "iscrowd", "score")
    segments_info = [
        {
            **{key: segment[key] for key in keys if key in segment},
            "area": area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        for segment, area, (x0, y0, x1, y1) in zip(segments, areas, boxes, strict=True)
    ]
    return {"image_id": image_id, "file_name": path.name, "segments_info": segments_info}


def instance_annotations(
    image_id: int | str, ids: np.ndarray, segments: Segments
) -> list[dict[str, Any]]:
    """COCO's annotations, without ``id``, of the things of one image."""
    scores = {s["id"]: {"score": s["score"]} for s in segments if "score" in s}
    annotations = []
    for instance in instances_from_panoptic(ids, segments):
        score = scores.get(instance.pop("segment_id"), {})
        annotations.append({"image_id": image_id, **instance, **score})
    return annotations


def write_instance_json(
    path: Path | str, images: Segments, by_image: Iterable[Segments], categories: Segments
) -> None:
    """Write COCO's instance format; annotations are numbered from 1, stuff is left out."""
    instances = (instance for annotations in by_image for instance in annotations)
    write_json(
        path,
        {
            "images": images,
            "annotations": [{**x, "id": i} for i, x in enumerate(instances, start=1)],
            "categories": [category for category in categories if category["isthing"]],
        },
    )

"""The conversion of one split of a data set from any format to any target."""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import UserError
from ...utils.files import write_json
from ..description import DESCRIPTION, add_to_data_yaml, read_data_yaml
from ..segments import label_segments, segment_areas
from .categories import CATEGORIES, settled_categories
from .coco import CocoInstances, CocoPanoptic
from .cvat import CvatImages
from .input_checks import check_arguments, check_images
from .journal import map_resumable
from .label_pngs import InstanceIdPngs, MapillaryInstances, SemanticPngs
from .labelme import Labelme
from .records import LabelledImage, Reader, Source
from .targets import TARGETS, Target
from .yolo import YoloSegments

READERS: dict[str, type[Reader]] = {
    "coco-instances": CocoInstances,
    "coco-panoptic": CocoPanoptic,
    "cvat": CvatImages,
    "instance-ids": InstanceIdPngs,
    "labelme": Labelme,
    "mapillary": MapillaryInstances,
    "semantic": SemanticPngs,
    "yolo": YoloSegments,
}


@dataclass(frozen=True)
class Summary:
    """What a conversion has written.

    Attributes:
        name: of the data set in ``data.yaml``.
        images, things, stuff: how many; of stuff an image has one segment per class.
        hidden: segments that were left out, because others cover them.
        void: share of pixels of no class, 0 to 1.
    """

    name: str
    images: int
    things: int
    stuff: int
    hidden: int
    void: float


def convert(
    kind: str,
    source: Source,
    folder: Path,
    *,
    to: str = "panoptic",
    name: str | None = None,
    background: str | None = None,
    force: bool = False,
    workers: int = 0,
) -> Summary:
    """Convert one split and add it to the ``data.yaml`` of the folder.

    A run that was killed goes on where it stopped when it is called again with the same arguments.

    Args:
        kind: a key of ``READERS``.
        folder: for the results; images stay where they are.
        to: a key of ``TARGETS``.
        name: of the data set; by default that of the folder and the split.
        background: the stuff class of pixels that no segment has; None leaves them void.
        force: replace what ``data.yaml`` lists under this name.
        workers: processes; 0 works in this one.

    Raises:
        UserError: bad input, in one sentence that names the file.
    """
    name = name or f"{folder.resolve().name}_{source.split}"
    check_arguments(kind, READERS[kind], source, folder)
    target = TARGETS[to](folder, source.split)
    journal = folder / f"{target.stem.name}.partial.jsonl"
    others = _other_data_sets(target, name, force or journal.exists())
    if force and not journal.exists():  # else an interrupted run goes on
        shutil.rmtree(target.stem, ignore_errors=True)
    reader = READERS[kind](source)
    earlier = folder / CATEGORIES if others else None
    try:
        categories = settled_categories(reader.categories, source.stuff, background, earlier)
    except UserError as error:
        raise UserError(f"'{source.path}': {error}") from error
    target.check(categories)
    results = map_resumable(
        _ConvertImage(reader, target, categories, background),
        reader.items(),
        journal,
        _settings(kind, source, target, categories, background),
        workers=workers,
        description=name,
        is_kept=lambda result: target.is_written(result["image"]),
    )
    images = [result["image"] for result in results]
    check_images(images, source)
    files = target.finish(images, [result["written"] for result in results], categories)
    write_json(folder / CATEGORIES, {"categories": categories})
    is_training = source.split.startswith("train")
    add_to_data_yaml(folder, name, [str(reader.images), *files], training=is_training)
    journal.unlink()
    pixels = sum(image["height"] * image["width"] for image in images)
    counts = ("things", "stuff", "hidden", "void")
    things, stuff, hidden, void = (sum(r[key] for r in results) for key in counts)
    return Summary(name, len(images), things, stuff, hidden, void / pixels)


@dataclass(frozen=True)
class _ConvertImage:
    """Takes an item of the reader, writes its files, returns a JSON value."""

    reader: Reader
    target: Target
    categories: Sequence[dict[str, Any]]
    background: str | None

    def __call__(self, item: Any) -> dict[str, Any]:
        labelled = self.reader.read(item)
        ids, segments, hidden = self._settled(labelled)
        name = Path(os.path.relpath(labelled.path, self.reader.images)).as_posix()
        image_id = labelled.image_id
        image = {
            "id": os.path.splitext(name)[0] if image_id is None else image_id,
            "file_name": name,
            "height": ids.shape[0],
            "width": ids.shape[1],
        }
        written = self.target.write(image, ids, segments)
        things = sum(segment["isthing"] for segment in segments)
        counts = {"things": things, "stuff": len(segments) - things, "hidden": hidden}
        return {"image": image, "written": written, **counts, "void": int((ids == 0).sum())}

    def _settled(self, labelled: LabelledImage) -> tuple[np.ndarray, list[dict[str, Any]], int]:
        """One segment per stuff class; ids from 1 on; the number of segments without pixels."""
        known = {c["name"]: {**c, "place": place} for place, c in enumerate(self.categories)}
        groups: dict[Any, dict[str, Any]] = {}

        def number(key: Any, *entry: Any) -> int:
            return groups.setdefault(key, {"id": len(groups) + 1, **_entry(*entry)})["id"]

        numbers = [0]
        for segment in labelled.segments:
            category = known[segment.class_name]
            key = segment.id if category["isthing"] else segment.class_name
            numbers.append(number(key, category, segment.iscrowd, segment.score))
        if self.background:
            numbers[0] = number(self.background, known[self.background])
        labels = label_segments(labelled.ids, [segment.id for segment in labelled.segments])
        ids = np.array(numbers, np.int32)[labels]
        areas = segment_areas(ids, len(groups))
        new = np.concatenate([[0], np.cumsum(areas > 0) * (areas > 0)]).astype(np.int32)
        kept = [{**group, "id": int(new[group["id"]])} for group in groups.values()]
        segments = [group for group in kept if group["id"]]
        hidden = {key for key, group in groups.items() if not new[group["id"]]}
        return new[ids], segments, len(hidden - {self.background})


def _entry(category: dict, iscrowd: bool = False, score: float | None = None) -> dict[str, Any]:
    scores = {} if score is None else {"score": score}
    return {
        "category_id": category["id"],
        "place": category["place"],
        "isthing": category["isthing"],
        "iscrowd": int(iscrowd and category["isthing"]),
        **scores,
    }


def _other_data_sets(target: Target, name: str, replaces: bool) -> list[str]:
    """The names in ``data.yaml`` apart from this one.

    Raises:
        UserError: this one is there, and is not to be replaced; or the file is of another program.
    """
    path = target.folder / DESCRIPTION
    try:
        listed = (
            [e[0] for e in read_data_yaml(path)["DATASETS"]["REGISTER"]] if path.exists() else []
        )
    except UserError as error:
        raise UserError(
            f"'{target.folder}' has the {DESCRIPTION} of another program, or a broken one: name "
            f"another folder for the result ({error})"
        ) from error
    if name in listed and not replaces:
        raise UserError(
            f"'{path}' lists '{name}' already: give another --split, --name or folder, or replace "
            "it with --force."
        )
    return [other for other in listed if other != name]


def _settings(kind: str, source: Source, target: Target, *more: Any) -> str:
    """All that results depend on besides the files of each item."""
    stamp = source.path.stat().st_mtime_ns if source.path.is_file() else None
    return json.dumps([kind, dataclasses.asdict(source), target.kind, stamp, *more], default=str)

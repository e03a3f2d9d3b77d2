"""Grey PNGs beside the images: of classes, or of Cityscapes' or Mapillary's instance ids."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...classes import unique_names
from ...utils.errors import UserError
from ...utils.files import read_json
from ..decoding import open_image
from ..images import upright_size
from ..panoptic_json import Field, check_categories, check_objects, is_flag, is_text
from ..reading import IGNORED, read_label_values
from ..segments import present_ids
from ..semantic import load_semantic_records
from .records import LabelledImage, Segment, Source, stamped, thing_categories

INSTANCES_PER_CLASS = 1000
INSTANCES_PER_LABEL = 256  # Mapillary's
_LABEL = (
    Field("name", is_text, "the name of the label"),
    Field("readable", is_text, "its readable name", "like the other"),
    Field("instances", is_flag, "true for countable objects"),
    Field("evaluate", is_flag, "false for void", True),
)


class _LabelPngs:
    """Pairs PNGs with images.

    Args:
        names: of the classes by their values.
        void: the format's values of no class.

    Raises:
        UserError: a folder or an image is missing, or there is no PNG.
    """

    takes_folder, uses = True, ("classes", "stuff", "void", "suffixes")
    unknown = "add NAME={0} to --classes, or {0} to --void"  # what to do about a value

    def __init__(self, source: Source, names: dict[int, str], void: Iterable[int]):
        self._names = names
        self._void = {*(void if source.void is None else source.void)}
        self.images = source.image_folder()
        self.categories = thing_categories(names.values())
        label_suffix, image_suffix = source.suffixes
        is_one = self.images.is_dir() and self.images.samefile(source.path)
        if is_one and label_suffix == image_suffix:
            raise UserError(
                f"'{source.path}' is the folder of both images and PNGs: give each its own, or "
                "what their names end in with --label-suffix and --image-suffix."
            )
        self._files = {
            "image_root": str(self.images),
            "sem_seg_root": str(source.path),
            "label_suffix": label_suffix,
            "image_suffix": image_suffix,
            "stuff_classes": [*names.values()],
        }

    def items(self) -> list[tuple[str, dict[str, Any]]]:
        records = load_semantic_records(self._files)
        return [(stamped(record["sem_seg_file_name"]), record) for record in records]

    def _class_of(self, value: int, item: dict[str, Any]) -> str:
        if value not in self._names:
            raise UserError(
                f"Label PNG '{item['sem_seg_file_name']}' has the class {value}: "
                f"{self.unknown.format(value)}."
            )
        return self._names[value]


class SemanticPngs(_LabelPngs):
    """A pixel's value is its class, counted from 0; 255 is void. All classes are stuff."""

    def __init__(self, source: Source):
        if source.stuff is not None:
            raise UserError(
                "Semantic PNGs do not separate objects, so all their classes are stuff: leave "
                "--stuff out."
            )
        super().__init__(source, _named_values(source, first=0), void=(IGNORED,))
        self.categories = [{**c, "isthing": 0} for c in self.categories]

    def read(self, item: dict[str, Any]) -> LabelledImage:
        values = read_label_values(item, upright_size(item["file_name"]))
        present = sorted(present_ids(values) - self._void)
        segments = [Segment(value + 1, self._class_of(value, item)) for value in present]
        return LabelledImage(item["file_name"], values + 1, segments)


class InstanceIdPngs(_LabelPngs):
    """A pixel's value is 1000 class + number, or the class alone; classes count from 1, 0 is void.

    The class alone is stuff or, for a class of things, a crowd.
    """

    def __init__(self, source: Source):
        if source.stuff is None:
            raise UserError(
                "PNGs of instance ids do not say which classes are stuff: name them with --stuff, "
                "or write --stuff alone for none."
            )
        super().__init__(source, _named_values(source, first=1), void=(0,))
        self._stuff = set(source.stuff)

    def read(self, item: dict[str, Any]) -> LabelledImage:
        values = read_label_values(item, upright_size(item["file_name"]))
        segments = []
        for value in sorted(present_ids(values) - {0}):
            is_alone = value < INSTANCES_PER_CLASS
            number = value if is_alone else value // INSTANCES_PER_CLASS
            if number not in self._void:
                name = self._class_of(number, item)
                segments.append(Segment(value, name, is_alone and name not in self._stuff))
        return LabelledImage(item["file_name"], values, segments)


class MapillaryInstances(_LabelPngs):
    """A pixel's value is 256 label + number; labels are counted from 0 in Mapillary's config.

    Labels that the config excludes from evaluation are void.

    Raises:
        UserError: there is no config, or it is of another format.
    """

    uses = ("stuff", "void", "suffixes", "categories")
    unknown = "give the config of this version of the data set with --categories"

    def __init__(self, source: Source):
        if source.categories is None:
            raise UserError(
                f"The PNGs of '{source.path}' have no names: give Mapillary's config, such as "
                "config_v1.2.json, with --categories."
            )
        labels = _config_labels(source.categories)
        numbers = range(len(labels))
        names = unique_names([label.get("readable", label["name"]) for label in labels], numbers)
        void = [k for k in numbers if not labels[k].get("evaluate", True)]
        super().__init__(source, dict(enumerate(names)), void)
        # The ids are those of Mapillary's own panoptic JSON.
        self.categories = [
            {
                "id": k + 1,
                "name": names[k],
                "isthing": int(labels[k]["instances"]),
                "color": labels[k].get("color"),
            }
            for k in numbers
            if k not in self._void
        ]
        check_categories(self.categories, f"'{source.categories}'")

    def read(self, item: dict[str, Any]) -> LabelledImage:
        path = item["sem_seg_file_name"]
        with open_image(path, f"Label PNG '{path}'") as image:
            if not image.mode.startswith("I"):
                raise UserError(
                    f"Label PNG '{path}' has mode {image.mode}, not 16 bits: name Mapillary's "
                    "folder 'instances'; of 'panoptic' there is a JSON, see coco-panoptic."
                )
        values = read_label_values(item, upright_size(item["file_name"]))
        segments = [
            Segment(value + 1, self._class_of(value // INSTANCES_PER_LABEL, item))
            for value in sorted(present_ids(values))
            if value // INSTANCES_PER_LABEL not in self._void
        ]
        return LabelledImage(item["file_name"], values + 1, segments)


def _config_labels(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not labels:
        raise UserError(f"'{path}' has no 'labels': give Mapillary's config, config_v1.2.json.")
    check_objects(labels, "labels", f"'{path}'", _LABEL)
    return labels


def _named_values(source: Source, first: int) -> dict[int, str]:
    """NAME=VALUE as {value: name}; a name alone has the value after the one before."""
    if not source.classes:
        raise UserError(f"The PNGs of '{source.path}' have no names: list --classes.")
    names: dict[int, str] = {}
    following = first
    for entry in source.classes:
        name, equals, value = entry.rpartition("=")
        if not equals:
            name = entry
        elif not value.isdecimal():
            raise UserError(f"Class '{entry}' has no number behind '=': write NAME=VALUE.")
        else:
            following = int(value)
        if following in names or name in names.values():
            raise UserError(f"Class '{entry}' has a name or value that is given twice.")
        names[following] = name
        following += 1
    return names

"""Grey PNGs beside the images: of classes, or of Cityscapes' instance ids."""

from typing import Any

from ...utils.errors import UserError
from ..images import upright_size
from ..reading import read_label_values
from ..segments import present_ids
from ..semantic import load_semantic_records
from .records import LabelledImage, Segment, Source, stamped, thing_categories

INSTANCES_PER_CLASS = 1000


class _LabelPngs:
    """Pairs PNGs with images; ``first`` and ``void`` are the format's own values.

    Raises:
        UserError: no classes were given, a folder or an image is missing, or there is no PNG.
    """

    takes_folder = True
    first: int
    void: tuple[int, ...]

    def __init__(self, source: Source):
        if not source.classes:
            raise UserError(f"The PNGs of '{source.path}' have no names: list --classes.")
        self._names = _named_values(source.classes, self.first)
        self._void = {*(self.void if source.void is None else source.void)}
        self.images = source.image_folder()
        self.categories = thing_categories(self._names.values())
        label_suffix, image_suffix = source.suffixes
        self._files = {
            "image_root": str(self.images),
            "sem_seg_root": str(source.path),
            "label_suffix": label_suffix,
            "image_suffix": image_suffix,
            "stuff_classes": [*self._names.values()],
        }

    def items(self) -> list[tuple[str, dict[str, Any]]]:
        records = load_semantic_records(self._files)
        return [(stamped(record["sem_seg_file_name"]), record) for record in records]

    def _class_of(self, value: int, item: dict[str, Any]) -> str:
        if value not in self._names:
            raise UserError(
                f"Label PNG '{item['sem_seg_file_name']}' has the class {value}: add NAME={value} "
                f"to --classes, or {value} to --void."
            )
        return self._names[value]


class SemanticPngs(_LabelPngs):
    """A pixel's value is its class, counted from 0; 255 is void. All classes are stuff."""

    first, void = 0, (255,)

    def __init__(self, source: Source):
        if source.stuff is not None:
            raise UserError(
                "Semantic PNGs do not separate objects, so all their classes are stuff: leave "
                "--stuff out."
            )
        super().__init__(source)
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

    first, void = 1, (0,)

    def __init__(self, source: Source):
        if source.stuff is None:
            raise UserError(
                "PNGs of instance ids do not say which classes are stuff: name them with --stuff, "
                "or write --stuff alone for none."
            )
        super().__init__(source)
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


def _named_values(classes: Any, first: int) -> dict[int, str]:
    """NAME=VALUE as {value: name}; a name alone has the value after the one before."""
    names: dict[int, str] = {}
    following = first
    for entry in classes:
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

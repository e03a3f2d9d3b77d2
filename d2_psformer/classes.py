"""The classes of a data set: names, colours, ids, and which of them are things."""

import colorsys
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from .utils.errors import UserError

Categories = Iterable[Mapping[str, Any]]
# Stands for "no object" or void where a row of a classifier is named by its class.
NO_OBJECT = -1


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, indexed by contiguous id.

    Thing index ``i`` of a model is the contiguous id ``thing_ids[i]``, stuff index ``j`` is
    ``stuff_ids[j]``. Their numbers come from Detectron2's id maps and never from the length of
    ``thing_classes``, which holds the names of things and stuff in COCO's metadata.

    Attributes:
        thing_ids, stuff_ids: contiguous ids, ascending.
        names, colors: one per contiguous id; a color is (R, G, B) of 0...255.
        category_ids: contiguous id -> the data set's own category id.

    Raises:
        UserError: there are no classes, or one contiguous id stands for a thing and for stuff.
    """

    thing_ids: tuple[int, ...]
    stuff_ids: tuple[int, ...]
    names: tuple[str, ...] = ()
    colors: tuple[tuple[int, ...], ...] = ()
    category_ids: Mapping[int, int | str] = field(default_factory=dict)

    def __post_init__(self):
        both = sorted(set(self.thing_ids) & set(self.stuff_ids))
        if both:
            raise UserError(
                f"Contiguous class ids {both} stand for a thing and for a stuff class: use the "
                "data set's panoptic metadata, not the 'separated' or 'stuffonly' one."
            )
        if not self.thing_ids and not self.stuff_ids:
            raise UserError("The data set has neither thing nor stuff classes.")

    @classmethod
    def from_metadata(cls, metadata) -> "Classes":
        """Read Detectron2's metadata of a panoptic, semantic or instance data set.

        Without id maps ``stuff_classes`` (semantic data) or ``thing_classes`` lists every class,
        and the pixel values or category ids are the contiguous ones; stuff that ``thing_classes``
        lists too is a thing.

        With id maps that of stuff may hold every id of the data set; where the maps differ, things
        win. ``stuff_classes`` or ``thing_classes`` holds all names, in Detectron2's data sets and
        in ours; where each holds its own kind only, things come first. The same goes for colours.
        If there are no names at all, category ids serve as names.

        Args:
            metadata: an entry of ``MetadataCatalog``, or a dict with the same keys.

        Raises:
            UserError: there are neither id maps nor names, some classes have no name, or a colour
                is none.
        """
        dataset = metadata.get("name", "?")
        things = metadata.get("thing_dataset_id_to_contiguous_id", None)
        stuff = metadata.get("stuff_dataset_id_to_contiguous_id", None)
        thing_names, stuff_names = (metadata.get(f"{k}_classes", []) for k in ("thing", "stuff"))
        if things is None and stuff is None:
            listed = stuff_names or thing_names
            if not listed or not {*thing_names} <= {*listed}:
                raise UserError(
                    f"Data set '{dataset}' has no metadata of its classes: register it with "
                    "register_panoptic, register_semantic or register_instances of "
                    "d2_psformer.data, or with those of Detectron2."
                )
            stuff = {i: i for i in range(len(listed))}
            things = {i: i for i, name in enumerate(listed) if name in thing_names}
        things = things or {}
        stuff = {k: v for k, v in (stuff or {}).items() if k not in things}
        ids = {contiguous: category for category, contiguous in [*stuff.items(), *things.items()]}
        count = max(ids, default=-1) + 1
        thing_colors, stuff_colors = (metadata_colors(metadata, k) for k in _COLOR_KEYS)
        colors = _of_every_class(thing_colors, stuff_colors, count) or distinct_colors(count)
        names = _of_every_class(thing_names, stuff_names, count)
        if not thing_names and not stuff_names:
            names = [str(ids.get(i, i)) for i in range(count)]
        classes = cls(
            thing_ids=tuple(sorted({*things.values()})),
            stuff_ids=tuple(sorted({*stuff.values()})),
            names=tuple(names),
            colors=tuple(map(tuple, colors)),
            category_ids=ids,
        )
        if not names:
            raise UserError(
                f"Data set '{dataset}' has {count} class ids, but {len(thing_names)} names in "
                f"thing_classes and {len(stuff_names)} in stuff_classes: name every class."
            )
        return classes

    @classmethod
    def from_categories(cls, categories: Categories, *, things_first: bool = False) -> "Classes":
        """Number categories by their place in the list.

        Args:
            categories: as in a COCO-panoptic JSON: ``id``, ``name``, ``isthing`` and, optionally,
                ``color``.
            things_first: put things before stuff and sort each by id, so that the order in a file
                has no influence.
        """
        listed = list(categories)
        if things_first:  # ids that are numbers stand before those that are texts
            listed.sort(key=lambda c: (not c["isthing"], isinstance(c["id"], str), c["id"]))
        spare = distinct_colors(len(listed))
        places = range(len(listed))
        return cls(
            thing_ids=tuple(i for i in places if listed[i]["isthing"]),
            stuff_ids=tuple(i for i in places if not listed[i]["isthing"]),
            names=tuple(c["name"] for c in listed),
            colors=tuple(tuple(parse_color(listed[i].get("color")) or spare[i]) for i in places),
            category_ids={i: listed[i]["id"] for i in places},
        )

    def categories(self) -> list[dict[str, Any]]:
        """The classes in contiguous order, as in the ``categories`` of a COCO-panoptic JSON."""
        return [
            {
                "id": self.category_ids[i],
                "name": self.names[i],
                "isthing": int(i in self.thing_ids),
                "color": list(self.colors[i]),
            }
            for i in sorted(self.category_ids)
        ]

    def to_metadata(self) -> dict[str, Any]:
        """Detectron2's metadata keys of these classes.

        The lists of stuff and the stuff map hold every class and the lists of things end with the
        last thing: parts of Detectron2 look up any contiguous id in them.
        """
        end = max(self.thing_ids, default=-1) + 1
        colors = [list(color) for color in self.colors]
        contiguous = {category: i for i, category in self.category_ids.items()}
        return {
            "thing_classes": list(self.names[:end]),
            "stuff_classes": list(self.names),
            "thing_colors": colors[:end],
            "stuff_colors": colors,
            "thing_dataset_id_to_contiguous_id": {
                category: i for category, i in contiguous.items() if i in self.thing_ids
            },
            "stuff_dataset_id_to_contiguous_id": contiguous,
        }

    @property
    def num_things(self) -> int:
        return len(self.thing_ids)

    @property
    def num_stuff(self) -> int:
        return len(self.stuff_ids)

    @property
    def num_classes(self) -> int:
        """The size of a table indexed by contiguous id."""
        return max(self.thing_ids + self.stuff_ids) + 1


_COLOR_KEYS = ("thing_colors", "stuff_colors")


def metadata_colors(metadata, key: str) -> list[Sequence[int]]:
    """The colours under a key of metadata, each as R, G, B.

    Raises:
        UserError: one of them is not [R, G, B] of 0...255 or "#rrggbb".
    """
    colors = []
    for place, value in enumerate(metadata.get(key, None) or []):
        color = parse_color(value)
        if color is None:
            raise UserError(
                f"{key}[{place}] of data set '{metadata.get('name', '?')}' is {value!r}: write "
                "[R, G, B] of 0...255 or '#rrggbb'."
            )
        colors.append(color)
    return colors


def parse_color(value: Any) -> Sequence[int] | None:
    """R, G, B of 0...255 from a list or tuple of them or from "#rrggbb"; None if it is neither."""
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        return list(bytes.fromhex(value[1:]))
    is_triple = isinstance(value, list | tuple) and len(value) == 3
    is_plain = is_triple and all(
        isinstance(v, Integral) and not isinstance(v, bool) and 0 <= v <= 255 for v in value
    )
    return value if is_plain else None


def distinct_colors(count: int) -> list[list[int]]:
    """``count`` RGB colours that differ in hue by the golden ratio, hence from their neighbours."""
    golden_ratio = 0.618034
    colors = []
    for i in range(count):
        lightness, saturation = (0.5, 0.85) if i % 2 else (0.65, 0.65)
        rgb = colorsys.hls_to_rgb(i * golden_ratio % 1.0, lightness, saturation)
        colors.append([round(255 * v) for v in rgb])
    return colors


def unique_names(names: Sequence[str], category_ids: Iterable[int | str]) -> list[str]:
    """The names of classes, with the category id behind each name that occurs more than once."""
    counts = Counter(names)
    pairs = zip(names, category_ids, strict=True)
    return [f"{name} ({id})" if counts[name] > 1 else name for name, id in pairs]


def _of_every_class(things: Sequence, stuff: Sequence, count: int) -> Sequence:
    """Whichever list has one entry per class, else nothing."""
    return next((x for x in (stuff, things, [*things, *stuff]) if len(x) == count), [])

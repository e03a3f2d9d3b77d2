"""The classes of data sets and checkpoints: kept, compared by name, numbered alike."""

import logging
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..class_layout import ClassLayout, class_names, dataset_category_ids
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError
from .category_metadata import benchmark_metadata, things_first_metadata
from .coco_panoptic import read_categories
from .registration import PanopticRecords

logger = logging.getLogger(__name__)

_KEYS = (
    "thing_classes",
    "stuff_classes",
    "thing_colors",
    "stuff_colors",
    "thing_dataset_id_to_contiguous_id",
    "stuff_dataset_id_to_contiguous_id",
)


def class_metadata(dataset_name: str) -> dict:
    """``{"name": dataset_name}`` and what the catalog knows of its classes, as plain Python."""
    known = MetadataCatalog.get(dataset_name).as_dict()
    return {"name": dataset_name, **{key: known[key] for key in _KEYS if key in known}}


def is_class_metadata(value: Any) -> bool:
    """True for a result of :func:`class_metadata` with classes; checkpoints may hold anything."""
    maps = ("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id")
    return isinstance(value, dict) and any(key in value for key in maps)


def has_classes(dataset_name: str) -> bool:
    """True if the catalog knows the data set's panoptic classes; images alone have none."""
    known = MetadataCatalog.get(dataset_name).as_dict()
    has_things = "thing_dataset_id_to_contiguous_id" in known and "panoptic_json" in known
    return has_things or "stuff_dataset_id_to_contiguous_id" in known


def restore_class_metadata(metadata: dict) -> None:
    """Put the classes of a checkpoint's entry "metadata" into the catalog.

    After this a model can be built, and its results shown, without the data set. What the catalog
    knows already is left alone.
    """
    catalog = MetadataCatalog.get(metadata["name"])
    known = catalog.as_dict()
    catalog.set(**{key: metadata[key] for key in _KEYS if key in metadata and key not in known})


def align_classes(ours: dict, reference: dict, whose: str) -> dict:
    """Give the classes of ``ours`` the contiguous ids that they have in ``reference``.

    Names (with thing or stuff) decide, whatever ids the data sets have. A name that occurs twice
    is identified by name and id. If all ids are the same and some classes have names that the other
    side does not have, the ids decide, with a warning.

    Args:
        ours, reference: results of :func:`class_metadata`.
        whose: who has the second one, e.g. "data set 'b'", for messages.

    Returns:
        ``ours`` itself if it is numbered like the reference.

    Raises:
        ValueError: the classes differ; the first ones that do are named.
    """
    mine, theirs = _categories(ours), _categories(reference)
    who, by_name = f"data set '{ours['name']}'", _by_name(mine, theirs)
    found = _matched(mine, theirs, by_name)
    if found is None:
        found = _matched(mine, theirs, lambda c: (c["id"], c["isthing"]))
        pairs = [(a["name"], b["name"]) for a, b in zip(found or [], theirs, strict=False)]
        renamed = [pair for pair in pairs if len(set(pair)) == 2]
        on_both_sides = {c["name"] for c in mine} & {c["name"] for c in theirs}
        # Where a known name has another id, the ids are no better a guide.
        if found is None or on_both_sides & {name for pair in renamed for name in pair}:
            raise UserError(_difference(mine, theirs, by_name, who, whose))
        logger.warning(
            "The classes of %s and %s have the same ids but other names, and are matched by id: "
            "%s%s.", who, whose, ", ".join(f"'{a}' is '{b}' there" for a, b in renamed[:3]),
            " ..." if renamed[3:] else "",
        )  # fmt: skip
    return ours if found == mine else {"name": ours["name"], **benchmark_metadata(found)}


def set_classes(dataset_name: str, metadata: dict) -> None:
    """Put a result of :func:`align_classes` into the catalog, and renumber the data set's records.

    Args:
        metadata: the same classes (by id) with other contiguous ids, names or colours.
    """
    known = class_metadata(dataset_name)
    if metadata == known:
        return
    others = MetadataCatalog.get(dataset_name).as_dict()
    MetadataCatalog.remove(dataset_name)
    MetadataCatalog.get(dataset_name).set(
        **{k: v for k, v in others.items() if k not in (*_KEYS, "name")},
        **{k: v for k, v in metadata.items() if k != "name"},
    )
    # The method ``get`` of this catalog would load the data set.
    load = dict(DatasetCatalog).get(dataset_name)
    if load and not isinstance(load, PanopticRecords):
        new = {
            c["id"]: {"category_id": i, "isthing": c["isthing"]}
            for i, c in enumerate(_categories(metadata))
        }
        table = {i: new[c["id"]] for i, c in enumerate(_categories(known)) if c["id"] in new}
        DatasetCatalog.remove(dataset_name)
        DatasetCatalog.register(dataset_name, lambda: _renumbered(load(), table))


def align_data_set(dataset_name: str, reference: dict, whose: str) -> None:
    """Number the classes of a registered data set as ``reference`` does, by their names.

    Its names and ids are those in its panoptic JSON where that exists, so that a file whose ids
    differ from those that the data set was registered with is read rightly. (Detectron2's own
    loaders read no ids but those of their registration.)

    Raises:
        ValueError: as :func:`align_classes`, or the JSON's categories are unusable.
    """
    known = class_metadata(dataset_name)
    path = MetadataCatalog.get(dataset_name).get("panoptic_json", None)
    categories = read_categories(path) if path and os.path.isfile(path) else None
    in_file = {**known, **things_first_metadata(categories)} if categories else known
    aligned = align_classes(in_file, reference, whose)
    if _identities(aligned) != _identities(known):
        set_classes(dataset_name, aligned)


def _categories(metadata: dict) -> list[dict[str, Any]]:
    """The classes in the order of their contiguous ids, like ``categories`` of COCO's format."""
    layout, ids = ClassLayout.from_metadata(metadata), dataset_category_ids(metadata)
    if sorted(ids) != list(range(layout.num_classes)):
        raise UserError(f"The contiguous class ids of data set '{metadata['name']}' have gaps.")
    lists = (metadata.get("stuff_colors", []), metadata.get("thing_colors", []))
    colours = next((x for x in lists if len(x) == layout.num_classes), [None] * layout.num_classes)
    return [
        {"id": ids[i], "name": name, "isthing": i in layout.thing_ids, "color": colour}
        for i, (name, colour) in enumerate(zip(class_names(metadata, layout), colours, strict=True))
    ]


def _identities(metadata: dict) -> list[dict[str, Any]]:
    return [{**category, "color": None} for category in _categories(metadata)]


def _by_name(mine: list[dict], theirs: list[dict]) -> Callable[[dict], tuple]:
    """What identifies a class: its name and kind, and its id if that occurs twice on a side."""
    counts = [Counter((c["name"], c["isthing"]) for c in side) for side in (mine, theirs)]

    def key(category: dict) -> tuple:
        named = category["name"], category["isthing"]
        return *named, category["id"] if max(count[named] for count in counts) > 1 else None

    return key


def _matched(
    mine: list[dict], theirs: list[dict], key: Callable[[dict], tuple]
) -> list[dict] | None:
    """Our classes in the order of theirs; None if a key occurs on one side alone."""
    found = {key(category): category for category in mine}
    wanted = [key(category) for category in theirs]
    return [found[k] for k in wanted] if found.keys() == set(wanted) else None


def _difference(mine: list[dict], theirs: list[dict], key: Callable, who: str, whose: str) -> str:
    """One sentence with the first classes that only one side has."""

    def shown(category: dict) -> str:
        kind, number = "thing" if category["isthing"] else "stuff", key(category)[-1]
        return f"{kind} '{category['name']}'{'' if number is None else f' (id {number})'}"

    def missing(here: list[dict], there: list[dict]) -> str:
        known = {key(category) for category in there}
        only = [shown(category) for category in here if key(category) not in known]
        return f"{', '.join(only[:3]) or 'none'}{f' and {len(only) - 3} more' if only[3:] else ''}"

    return (
        f"The classes of {who} and {whose} differ: only the first has {missing(mine, theirs)}; "
        f"only the second has {missing(theirs, mine)}. Use data, config and weights of the same "
        "classes."
    )


def _renumbered(records: list[dict], table: dict[int, dict]) -> list[dict]:
    """Copies of records whose segments have other values of ``category_id`` and ``isthing``."""
    return [
        {
            **record,
            "segments_info": [
                {**segment, **table[segment["category_id"]]} for segment in record["segments_info"]
            ],
        }
        if "segments_info" in record
        else record
        for record in records
    ]

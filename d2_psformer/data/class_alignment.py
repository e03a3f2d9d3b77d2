"""The categories of two sources, matched by name; needs neither torch nor OpenCV."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..utils.errors import UserError

logger = logging.getLogger(__name__)

Category = Mapping[str, Any]
Key = Callable[[Category], tuple]


def align_categories(
    ours: Sequence[Category], reference: Sequence[Category], who: str, whose: str
) -> list[Category]:
    """Our categories in the order in which the reference has the same ones.

    Names (with thing or stuff) decide, whatever the ids are. A name that occurs twice is identified
    by name and id. Where names differ, equal ids decide, with a warning, in two cases:

    * a side has no names but its ids;
    * some names are the same, these agree with the ids, and the ids are no mere count from 0 or 1.

    Args:
        ours, reference: dicts with ``id``, ``name`` and ``isthing``, as in a COCO-panoptic JSON.
        who, whose: the owners of both, e.g. "data set 'b'", for messages.

    Raises:
        UserError: the categories differ; the first ones that do are named.
    """
    by_name = _by_name(ours, reference)
    found = _matched(ours, reference, by_name)
    if found is not None:
        return found
    found = _matched(ours, reference, lambda c: (c["id"], c["isthing"]))
    pairs = [(_name(a), _name(b)) for a, b in zip(found or [], reference, strict=False)]
    renamed = [pair for pair in pairs if len(set(pair)) == 2]
    if found is None or not _ids_identify(ours, reference, renamed):
        raise UserError(_difference(ours, reference, by_name, who, whose))
    logger.warning(
        "The classes of %s and %s have the same ids but other names, and are matched by id: "
        "%s%s.", who, whose, ", ".join(f"'{a}' is '{b}' there" for a, b in renamed[:3]),
        " ..." if renamed[3:] else "",
    )  # fmt: skip
    return found


def _name(category: Category) -> str:
    """The name; Detectron2's metadata of ADE20K has one that ends with a space."""
    return str(category["name"]).strip()


def _by_name(ours: Sequence[Category], reference: Sequence[Category]) -> Key:
    """What identifies a class: its name and kind, and its id if that occurs twice on a side."""
    counts = [Counter((_name(c), c["isthing"]) for c in side) for side in (ours, reference)]

    def key(category: Category) -> tuple:
        named = _name(category), category["isthing"]
        return *named, category["id"] if max(count[named] for count in counts) > 1 else None

    return key


def _matched(
    ours: Sequence[Category], reference: Sequence[Category], key: Key
) -> list[Category] | None:
    """Our classes in the order of the reference; None if a key occurs on one side alone."""
    found = {key(category): category for category in ours}
    order = [key(category) for category in reference]
    return [found[k] for k in order] if found.keys() == set(order) else None


def _ids_identify(
    ours: Sequence[Category], reference: Sequence[Category], renamed: list[tuple[str, str]]
) -> bool:
    """True if equal ids can stand for the classes with these pairs of names."""
    sides = ours, reference
    if any(all(_name(c) == str(c["id"]) for c in side) for side in sides):
        return True
    on_both_sides = {_name(c) for c in ours} & {_name(c) for c in reference}
    is_wrong = on_both_sides & {name for pair in renamed for name in pair}
    ids, count = {str(c["id"]) for c in ours}, len(ours)
    only_count = any(ids == {*map(str, range(i, i + count))} for i in (0, 1))
    return bool(on_both_sides) and not is_wrong and not only_count


def _difference(
    ours: Sequence[Category], reference: Sequence[Category], key: Key, who: str, whose: str
) -> str:
    """One sentence with the first classes that only one side has."""

    def shown(category: Category) -> str:
        kind, number = "thing" if category["isthing"] else "stuff", key(category)[-1]
        return f"{kind} '{category['name']}'{'' if number is None else f' (id {number})'}"

    def missing(here: Sequence[Category], there: Sequence[Category]) -> str:
        known = {key(category) for category in there}
        only = [shown(category) for category in here if key(category) not in known]
        return f"{', '.join(only[:3]) or 'none'}{f' and {len(only) - 3} more' if only[3:] else ''}"

    return (
        f"The classes of {who} and {whose} differ: only the first has {missing(ours, reference)}; "
        f"only the second has {missing(reference, ours)}. Use data, config and weights of the same "
        "classes."
    )

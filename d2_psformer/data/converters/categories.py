"""The categories of a conversion: those of the source, the user's word on them, earlier splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...classes import Classes
from ...utils.errors import UserError, check_known
from ...utils.files import read_json
from ..panoptic_json import check_categories, repeated

CATEGORIES = "categories.json"
Categories = Sequence[dict[str, Any]]


def settled_categories(
    found: Categories, stuff: Sequence[str] | None, background: str | None, earlier: Path | None
) -> list[dict[str, Any]]:
    """``id``, ``name``, ``isthing`` and ``color`` of every class.

    Args:
        found: by the reader; without ids they are numbered from 1.
        stuff: the names of all stuff classes; None keeps ``isthing`` as it was found.
        background: a stuff class more, unless it is there.
        earlier: a JSON of the categories that another split of the data set has. They are used
            whole, and must have each class that was found.

    Raises:
        UserError: a class is named twice, unknown, or contradicts the earlier split.
    """
    names = [category["name"] for category in found]
    if not names:
        raise UserError("The annotation names no class: list them with --classes.")
    if not all(map(str.strip, names)):
        raise UserError("A class of the annotation has an empty name: give it one.")
    if again := repeated(names):
        raise UserError(f"Class '{again[0]}' is there twice: give each class its own name.")
    known = {c["name"]: c for c in _read(earlier)} if earlier else {}
    for name in stuff or ():
        check_known("Stuff class", name, {*names, *known, *([background] if background else [])})
    categories = [dict(category) for category in found]
    if background and background not in names:
        categories.append({"name": background, "isthing": 0})
    for number, category in enumerate(categories, start=1):
        if category["name"] in (stuff or ()):
            category["isthing"] = 0
        elif stuff is not None and category["name"] != background:
            category["isthing"] = 1
        if category["name"] == background and category["isthing"]:
            raise UserError(f"The background '{background}' is a class of things: make it stuff.")
        category.setdefault("id", number)
    if repeated(category["id"] for category in categories):  # the background's
        numbers = [c["id"] for c in categories[:-1] if isinstance(c["id"], int)]
        categories[-1]["id"] = max(numbers, default=0) + 1
    if earlier:
        _check_agreement(categories, known, earlier)
        categories = [*known.values()]
    return Classes.from_categories(categories).categories()


def _read(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    categories = content.get("categories") if isinstance(content, dict) else None
    check_categories(categories, f"'{path}'")
    return categories


def _check_agreement(categories: Categories, known: dict[str, Any], path: Path) -> None:
    for category in categories:
        name = category["name"]
        if name not in known:
            raise UserError(
                f"Class '{name}' is not in '{path}', which another split has written: convert both "
                "anew with all names in --classes."
            )
        if bool(known[name]["isthing"]) != bool(category["isthing"]):
            kinds = ("stuff", "things")[bool(known[name]["isthing"])]
            raise UserError(
                f"Class '{name}' is among the {kinds} in '{path}', which another split has "
                "written: give the same --stuff."
            )

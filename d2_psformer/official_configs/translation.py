"""From a config of the official MaskFormer or Mask2Former to this project's keys."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..utils.errors import UserError
from . import keys, parts
from .reading import OfficialConfig

logger = logging.getLogger(__name__)


@dataclass
class Translation:
    """A translated config.

    Attributes:
        config: nested, in our keys.
        project: "MaskFormer" or "Mask2Former".
        source: the file.
        translated: official keys that were translated.
        missing: official keys, with their values, that nothing here corresponds to.
    """

    config: dict[str, Any]
    project: str
    source: str
    translated: list[str]
    missing: list[str]

    def log(self) -> None:
        """Say in one line what was translated, and in a warning what could not be."""
        logger.info(
            "'%s' is a config of the official %s; %d of its keys were translated: %s.",
            self.source, self.project, len(self.translated), ", ".join(self.translated),
        )  # fmt: skip
        if self.missing:
            logger.warning(
                "'%s' is used without what does not exist here: %s.",
                self.source, "; ".join(self.missing),
            )  # fmt: skip


def translate_official(loaded: dict[str, Any], source: str) -> Translation | None:
    """Translate a config as it stands in a file, its ``_BASE_`` included; None if it is not one.

    Keys of Detectron2 itself stay as they are. What the official projects leave to their defaults
    is written out.

    Args:
        source: the file, for messages.

    Raises:
        UserError: the config mixes keys of both official projects, or theirs and ours, names an
            architecture or a backbone that does not exist here, or a value is of a wrong type.
    """
    flat = dict(_flatten(loaded))
    old = OfficialConfig(flat, source)
    theirs = [key for key in flat if key.startswith((keys.OLD, keys.SWIN)) or key in keys.OWN]
    if not theirs and flat.get(f"{keys.HEAD}NAME") not in ("MaskFormerHead", *keys.PER_PIXEL_HEADS):
        return None
    if ours := [key for key in flat if key.startswith(keys.OURS)]:
        theirs = [*theirs, f"{keys.HEAD}NAME"]
        old.refuse(
            f"mixes keys of this project and of the official MaskFormer or Mask2Former: {ours[0]} "
            f"and {theirs[0]}. Use those of one."
        )
    try:
        project = parts.project_of(old)
        config = parts.model(old, project) | parts.backbone(old) | parts.solver(old)
        config |= parts.results(old, project) | parts.images(old)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, SyntaxError) as error:
        key = old.read[-1] if old.read else "?"
        raise UserError(f"Config file '{source}': {key} has a wrong value: {error}.") from error
    missing = old.take_unknown()
    return Translation(_nested(config | old.left), project, source, sorted(old.read), missing)


def _flatten(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return root

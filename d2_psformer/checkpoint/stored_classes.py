"""The classes that a checkpoint names."""

from typing import Any

from ..classes import Classes
from ..utils.errors import UserError

_MOST = 2**20  # classes
_NAMES = ("thing_classes", "stuff_classes")
_ID_MAPS = ("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id")


def check_classes(metadata: Any, path: str) -> None:
    """Refuse metadata with classes that cannot be used; files of others may hold anything else.

    Args:
        metadata: as :func:`.class_metadata` returns it.
        path: the checkpoint, for the message.

    Raises:
        UserError: names the file and the entry.
    """
    if not isinstance(metadata, dict) or not any(metadata.get(k) for k in (*_NAMES, *_ID_MAPS)):
        return
    wrong = [key for key in _NAMES if not _are_names(metadata.get(key, []))]
    wrong += [key for key in _ID_MAPS if not _are_ids(metadata.get(key, {}))]
    wrong += [] if isinstance(metadata.get("name"), str) else ["name"]
    try:
        if not wrong:
            ids = Classes.from_metadata(metadata).category_ids
            if sorted(ids) == [*range(len(ids))]:
                return
            raise ValueError("the contiguous class ids have gaps")
        reason = f"'{wrong[0]}' is {metadata.get(wrong[0])!r:.60}"
    except (LookupError, TypeError, ValueError) as error:
        reason = f"{' '.join(str(error).split()):.200}"
    raise UserError(
        f"The classes in checkpoint '{path}' cannot be used ({reason}): is its 'metadata' of other "
        "code? Write the file without it, and its classes are those of DATASETS.TRAIN."
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _are_ids(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(type(id) in (int, str) for id in value)
        and all(type(number) is int and 0 <= number < _MOST for number in value.values())
    )

"""Reading an official config key by key, so that what nobody reads is found."""

import ast
from typing import Any, NoReturn

from ..utils.errors import UserError
from . import keys


class OfficialConfig:
    """An official config as dotted keys; those that are read are taken out.

    Attributes:
        left: keys that are not read yet.
        read: the keys of the file that were.
    """

    def __init__(self, flat: dict[str, Any], source: str):
        self.left, self.source = dict(flat), source
        self.read: list[str] = []

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is taken out; ``default`` if the file does not have it."""
        if key not in self.left:
            return default
        self.read.append(key)
        value = self.left.pop(key)
        # As in Detectron2's files: tuples are written as strings there.
        is_tuple = isinstance(value, str) and value.startswith("(")
        return ast.literal_eval(value) if is_tuple else value

    def take_unknown(self) -> list[str]:
        """Take out what is left of the official projects' own keys.

        Returns:
            those that ask for something that does not exist here, with their values.
        """
        missing = []
        for key, value in [*self.left.items()]:
            is_own = key.startswith((keys.OLD, keys.HEAD, keys.SWIN)) or key in keys.OWN
            if key in keys.UNUSED:
                del self.left[key]
            elif is_own or key in keys.FIXED:
                del self.left[key]
                if value not in keys.FIXED.get(key, ()):
                    missing.append(f"{key} {value}")
        return missing

    def refuse(self, problem: str) -> NoReturn:
        """Raise a :class:`UserError` that names the file."""
        raise UserError(f"Config file '{self.source}' {problem}")

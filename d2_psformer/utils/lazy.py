"""Packages whose names are imported at their first use, so that light modules stay light."""

import importlib
from collections.abc import Callable
from typing import Any


def names_of(package: str, module: str = "public") -> Callable[[str], Any]:
    """A package's ``__getattr__`` that finds the names of ``__all__`` of one of its modules."""

    def find(name: str) -> Any:
        if not name.startswith("__") and name != module:
            found = importlib.import_module(f"{package}.{module}")
            if name in found.__all__:
                return getattr(found, name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return find

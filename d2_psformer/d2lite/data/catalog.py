"""Global registries: how each data set is loaded, and what is known about its classes."""

import copy
import types
from collections import UserDict
from collections.abc import Callable
from typing import Any

from ..errors import UnknownKeyError


class _Catalog(UserDict):
    """A dict of names with the methods that Detectron2 gives its catalogs."""

    def list(self) -> list[str]:
        return list(self)

    def remove(self, name: str) -> None:
        self.pop(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__.strip('_')}({', '.join(self)})"


class _DatasetCatalog(_Catalog):
    """Name -> function without arguments that returns the data set's list of dicts."""

    def register(self, name: str, func: Callable[[], list[dict]]) -> None:
        assert callable(func), f"Data set '{name}' must be registered with a function."
        assert name not in self, f"Data set '{name}' is already registered."
        self[name] = func

    def get(self, name: str) -> list[dict]:
        """Load the data set.

        Raises:
            UnknownKeyError: the name is not registered.
        """
        if name not in self:
            known = ", ".join(sorted(self)) or "none"
            raise UnknownKeyError(f"Data set '{name}' is not registered; known are: {known}.")
        return self[name]()


class Metadata(types.SimpleNamespace):
    """Facts about one data set, as attributes. Each can be set once; equal values may be repeated.

    Raises:
        AttributeError: a missing attribute is read.
        AssertionError: an attribute gets another value.
    """

    name: str = "N/A"

    def __getattr__(self, key: str) -> Any:  # Python calls this for missing attributes alone.
        known = ", ".join(self.__dict__) or "nothing"
        raise AttributeError(f"Data set '{self.name}' has no metadata '{key}'; it has {known}.")

    def __setattr__(self, key: str, value: Any) -> None:
        old = self.__dict__.setdefault(key, value)
        assert old == value, (
            f"Metadata '{key}' of data set '{self.name}' is {old} and cannot become {value}."
        )

    def as_dict(self) -> dict[str, Any]:
        """A copy: changing it changes nothing here."""
        return copy.copy(self.__dict__)

    def set(self, **attributes: Any) -> "Metadata":
        for key, value in attributes.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)


class _MetadataCatalog(_Catalog):
    """Name -> :class:`Metadata`, which is empty at first."""

    def get(self, name: str) -> Metadata:
        assert name, "The name of a data set is empty."
        return self.setdefault(name, Metadata(name=name))


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()

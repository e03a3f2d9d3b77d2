"""The instances of one image, as named fields of one length."""

import itertools
from typing import Any

import torch


class Instances:
    """Named fields of equal length, one element an instance, and the size of the image.

    ``instances.scores = scores`` sets a field, ``instances.scores`` reads it, and
    ``instances[instances.scores > 0.5]`` indexes all fields at once.
    """

    def __init__(self, image_size: tuple[int, int], **kwargs: Any):
        """``image_size`` is (height, width); ``kwargs`` are the first fields."""
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in kwargs.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        return self._image_size

    def __setattr__(self, name: str, val: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, val)
        else:
            self.set(name, val)

    def __getattr__(self, name: str) -> Any:
        # There is no _fields yet while the object is being unpickled or copied.
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"These Instances have no field '{name}'.")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Set a field; its length must be that of the others."""
        if self._fields:
            assert len(value) == len(self), (
                f"Field '{name}' has length {len(value)}, but there are {len(self)} instances."
            )
        self._fields[name] = value

    def has(self, name: str) -> bool:
        """True if there is a field of this name."""
        return name in self._fields

    def remove(self, name: str) -> None:
        """Remove a field."""
        del self._fields[name]

    def get(self, name: str) -> Any:
        """The field of this name; KeyError without one."""
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """The fields themselves, no copy."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> "Instances":
        """Move every field that has a ``to``."""
        moved = Instances(self._image_size)
        for name, value in self._fields.items():
            moved.set(name, value.to(*args, **kwargs) if hasattr(value, "to") else value)
        return moved

    def __getitem__(self, item: Any) -> "Instances":
        """Instances at an int, a slice, or a tensor of indices or bools."""
        if isinstance(item, int):
            if not -len(self) <= item < len(self):
                raise IndexError(f"Instance {item} of {len(self)} does not exist.")
            item = slice(item, None, len(self))
        chosen = Instances(self._image_size)
        for name, value in self._fields.items():
            chosen.set(name, value[item])
        return chosen

    def __len__(self) -> int:
        if not self._fields:
            raise NotImplementedError("Instances without a field have no length.")
        return len(next(iter(self._fields.values())))

    def __iter__(self) -> Any:
        raise NotImplementedError("Instances are not iterable: index them.")

    @staticmethod
    def cat(instance_lists: list["Instances"]) -> "Instances":
        """Join instances of one image size that have the same fields."""
        assert len(instance_lists) > 0, "Instances.cat needs at least one element."
        if len(instance_lists) == 1:
            return instance_lists[0]
        image_size = instance_lists[0].image_size
        assert all(other.image_size == image_size for other in instance_lists), (
            f"Instances of different image sizes: {[other.image_size for other in instance_lists]}."
        )
        joined = Instances(image_size)
        for name, first in instance_lists[0].get_fields().items():
            values = [instances.get(name) for instances in instance_lists]
            if isinstance(first, torch.Tensor):
                joined.set(name, torch.cat(values))
            elif isinstance(first, list):
                joined.set(name, list(itertools.chain(*values)))
            elif hasattr(type(first), "cat"):
                joined.set(name, type(first).cat(values))
            else:
                raise ValueError(f"Fields of type {type(first).__name__} cannot be joined.")
        return joined

    def __repr__(self) -> str:
        count = len(self) if self._fields else 0
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        height, width = self._image_size
        return (
            f"Instances(num_instances={count}, image_height={height}, image_width={width}, "
            f"fields=[{fields}])"
        )

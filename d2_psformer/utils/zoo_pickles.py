"""Pickles of Detectron2's model zoo, read as data: no function that a file names is called.

A pickle is a program that may call any function by its name. Here the names that NumPy arrays need
are replaced by stand-ins, which check types, shapes and bytes, and every other name is refused.
NumPy's own functions are replaced too, as a file could corrupt the memory through them.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UserError

_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


def read_zoo_pickle(path: str) -> dict[str, Any]:
    """The weights in a ``.pkl`` file of Detectron2's model zoo, or of that of Detectron (Caffe2).

    Returns:
        ``model`` (dict of str -> array of plain numbers), ``__author__`` (str, "Caffe2" for a file
        of Detectron) and ``matching_heuristics`` (bool).

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, or holds anything but arrays of plain numbers under names.
    """
    content = Path(path).read_bytes()
    try:
        for _ in pickletools.genops(content):  # Fails if a length exceeds the file.
            pass
        loaded = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        return _weights(loaded, len(content))
    except _RefusedError as error:
        reason = str(error)
    except Exception:  # damaged bytes can fail in any way
        reason = "it is damaged, or no pickle at all"
    raise UserError(
        f"'{path}' cannot be read safely: {reason}; convert it to a .pth file where it was made."
    )


class _RefusedError(Exception):
    """The reason why a file is refused."""


def _weights(content: Any, size: int) -> dict[str, Any]:
    """
    Args:
        size: of the file, bytes; arrays that share a part of it could need far more.
    """
    if not isinstance(content, dict):
        raise _RefusedError("it holds no named weights")
    if "model" in content and "__author__" in content:
        weights, author = content["model"], content["__author__"]
        by_suffix = content.get("matching_heuristics", False)
    else:
        author, by_suffix = "Caffe2", True
        weights = content.get("blobs", content)
        weights = {k: v for k, v in weights.items() if not k.endswith("_momentum")}
    if not isinstance(author, str) or not isinstance(by_suffix, bool):
        raise _RefusedError("its '__author__' is no text, or its 'matching_heuristics' no bool")
    for name, weight in weights.items():
        if not isinstance(name, str):
            raise _RefusedError(f"the name {name!r} of a weight is no text")
        if not isinstance(weight, _Array) or weight.dtype is None:
            raise _RefusedError(f"its {name!r} is no array")
    distinct = {id(weight): weight for weight in weights.values()}
    if sum(len(weight.data) for weight in distinct.values()) > size:
        raise _RefusedError("its arrays share their numbers and are larger than the file")
    arrays = {number: weight.values() for number, weight in distinct.items()}
    model = {name: arrays[id(weight)] for name, weight in weights.items()}
    return {"model": model, "__author__": author, "matching_heuristics": by_suffix}


class _Type:
    """A type of plain numbers; its state is the order of their bytes."""

    def __init__(self, name: str, *_: Any):
        if name not in _TYPES:
            raise _RefusedError(f"it holds an array of {name!r}, which are no plain numbers")
        self.name, self.order = name, "="

    def __setstate__(self, state: Any) -> None:
        version, self.order, *others = state
        is_plain = self.order in ("<", ">", "=", "|") and others == [None, None, None, -1, -1, 0]
        if version != 3 or not is_plain:
            raise _RefusedError("it holds an array of other things than plain numbers")


@dataclass
class _Array:
    """What an array is made of; its state can give it that."""

    data: bytes | str = b""
    dtype: _Type | None = None
    shape: tuple = ()
    order: str = "C"
    axes: Any = None

    def __setstate__(self, state: Any) -> None:
        version, self.shape, self.dtype, by_columns, self.data = state
        self.order = "F" if by_columns else "C"
        if version != 1 or not isinstance(self.dtype, _Type):
            raise _RefusedError("it holds an array of other things than plain numbers")

    def values(self) -> np.ndarray:
        """A writable copy in this machine's order of bytes, as torch needs it."""
        # Python 2 has written bytes as text.
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data
        values = np.frombuffer(data, self.dtype.order + self.dtype.name)
        if self.order == "K":  # NumPy 2: stored with its axes exchanged
            values = values.reshape(self.shape).transpose(self.axes)
        else:
            values = values.reshape(self.shape, order=self.order)
        return values.astype(self.dtype.name)


# numpy.ndarray is but an argument of _reconstruct.
_MAKERS: dict[str, Callable | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _Type,
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.core.multiarray.scalar": lambda dtype, data: _Array(data, dtype),
    "numpy.core.numeric._frombuffer": _Array,
    "_codecs.encode": lambda text, _: text,
    "builtins.bytes": lambda: b"",
    "collections.OrderedDict": lambda: {},
}


class _StandIn:
    """A function that a file can call, but neither change nor look into."""

    def __init__(self, make: Callable | None):
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError("it changes a function")


class _Unpickler(pickle._Unpickler):
    """The standard library's unpickler in Python, whose memory does not grow with wrong indices."""

    def find_class(self, module: str, name: str) -> _StandIn:
        # NumPy 2 has renamed numpy.core, Python 3 __builtin__.
        module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
        full_name = f"{module}.{name}"
        if full_name not in _MAKERS:
            raise _RefusedError(f"it holds a {full_name!r}, which could run code")
        return _StandIn(_MAKERS[full_name])

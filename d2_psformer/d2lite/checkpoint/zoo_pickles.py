"""Pickles of Detectron2's model zoo, read as data: no function that a file names is called.

A pickle is a program for a stack machine, which may call any function by its name. Here names stand
for nothing but the parts of NumPy arrays, which are made of checked types, shapes and bytes.
``pickle.Unpickler`` is no way to do this, even with a restricted ``find_class``: the file would
still decide how NumPy fills its objects, and could corrupt the memory.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_BYTE_ORDERS = ("<", ">", "=", "|")
# Instructions that take this many values from the stack, and those that take all above a mark.
_TAKE = {
    "TUPLE1": 1,
    "TUPLE2": 2,
    "TUPLE3": 3,
    "APPEND": 1,
    "SETITEM": 2,
    "STACK_GLOBAL": 2,
    "REDUCE": 2,
    "BUILD": 1,
}
_TAKE_TO_MARK = ("TUPLE", "APPENDS", "SETITEMS")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def read_zoo_pickle(path: str) -> dict[str, Any]:
    """The weights in a ``.pkl`` file of Detectron2's model zoo, or of that of Detectron (Caffe2).

    Returns:
        ``model`` (dict of str -> array of plain numbers), ``__author__`` (str, "Caffe2" for a file
        of Detectron) and ``matching_heuristics`` (bool).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything but arrays of plain numbers under names.
    """
    content = Path(path).read_bytes()
    try:
        return _weights(_Machine().run(content))
    except _RefusedError as error:
        reason = str(error)
    except Exception:  # damaged bytes can fail in any way
        reason = "it is damaged, or no pickle at all"
    raise ValueError(
        f"'{path}' cannot be read safely: {reason}; convert it to a .pth file where it was made."
    )


class _RefusedError(Exception):
    """What a file holds that is not read."""


def _weights(content: Any) -> dict[str, Any]:
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
        if not isinstance(weight, _Array) or weight.values is None:
            raise _RefusedError(f"its {name!r} is no array")
    model = {name: weight.values for name, weight in weights.items()}
    return {"model": model, "__author__": author, "matching_heuristics": by_suffix}


@dataclass
class _Type:
    """A type of numbers, and the order of their bytes."""

    name: str
    order: str = "="


@dataclass
class _Array:
    """An array; the file may name it first, and give its values later."""

    values: np.ndarray | None = None


def _make_type(name: str, *_: Any) -> _Type:
    if name not in _TYPES:
        raise _RefusedError(f"it holds an array of {name!r}, which are no plain numbers")
    return _Type(name)


def _values(dtype: _Type, data: bytes | str, shape: tuple, order: str = "C") -> np.ndarray:
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    values = np.frombuffer(data, dtype.order + dtype.name).reshape(shape, order=order)
    # A writable copy in this machine's order of bytes, as torch needs it.
    return values.astype(dtype.name)


def _from_buffer(data: bytes, dtype: _Type, shape: tuple, order: str, axes: Any = None) -> _Array:
    if order == "K":  # NumPy 2: stored with its axes exchanged
        return _Array(_values(dtype, data, shape).transpose(axes))
    return _Array(_values(dtype, data, shape, order))


# What a file may name -> what stands in for it; numpy.ndarray is but an argument of _reconstruct.
_STAND_INS = {
    "numpy.ndarray": None,
    "numpy.dtype": _make_type,
    "numpy.core.multiarray._reconstruct": lambda *_: _Array(),
    "numpy.core.multiarray.scalar": lambda dtype, data: _Array(_values(dtype, data, ())),
    "numpy.core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": lambda text, _: text.encode("latin1"),
    "builtins.bytes": lambda: b"",
    "collections.OrderedDict": lambda: {},
}


def _stand_in(module: str, name: str) -> Callable | None:
    # NumPy 2 has renamed numpy.core, Python 3 __builtin__.
    module = module.replace("numpy._core", "numpy.core").replace("__builtin__", "builtins")
    full_name = f"{module}.{name}"
    if full_name not in _STAND_INS:
        raise _RefusedError(f"it holds a {full_name!r}, which could run code")
    return _STAND_INS[full_name]


class _Machine:
    """Follows the few instructions that make arrays, plain values, tuples, lists and dicts."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """What the program leaves on the stack; arrays are :class:`_Array`."""
        for opcode, argument, _ in pickletools.genops(program):
            if opcode.name in _TAKE:
                self._combine(opcode.name, self._pop(_TAKE[opcode.name]))
            elif opcode.name in _TAKE_TO_MARK:
                self._combine(opcode.name, self._pop(len(self.stack) - self.marks.pop()))
            else:
                self._follow(opcode.name, argument)
        return self.stack.pop()

    def _pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _combine(self, instruction: str, values: list[Any]) -> None:
        match instruction:
            case "APPEND" | "APPENDS":
                list.extend(self.stack[-1], values)
            case "SETITEM" | "SETITEMS":
                _set_items(self.stack[-1], values)
            case "BUILD":
                _fill(self.stack[-1], values[0])
            case "STACK_GLOBAL":
                self.stack.append(_stand_in(*values))
            case "REDUCE":
                make, arguments = values
                self.stack.append(make(*arguments))
            case _:
                self.stack.append(tuple(values))

    def _follow(self, instruction: str, argument: Any) -> None:
        match instruction:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(self.stack))
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_stand_in(*argument.split(" ")))
            case _ if instruction in _CONSTANTS:
                self.stack.append(_CONSTANTS[instruction])
            case _ if isinstance(argument, (int, float, str, bytes, bytearray)):
                self.stack.append(argument)
            case _:
                raise _RefusedError(f"it holds the instruction {instruction}, which no array needs")


def _set_items(target: dict, items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str):
            raise _RefusedError("a key of its dicts is no text")
        dict.__setitem__(target, key, value)


def _fill(target: _Type | _Array, state: tuple) -> None:
    """Give a type its order of bytes, or an array its values."""
    match target, state:
        case _Type(), (3, str(order), None, None, None, -1, -1, 0) if order in _BYTE_ORDERS:
            target.order = order
        case _Array(), (1, tuple(shape), _Type() as dtype, by_columns, data):
            target.values = _values(dtype, data, shape, "F" if by_columns else "C")
        case _:
            raise _RefusedError("it holds an array of other things than plain numbers")

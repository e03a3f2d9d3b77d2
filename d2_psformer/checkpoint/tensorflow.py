"""Checkpoints of TensorFlow 2, read without TensorFlow and without running code in them.

A checkpoint is a file ``NAME.index`` and files ``NAME.data-00000-of-00001`` with the raw numbers.
The index is a table of LevelDB, which TensorFlow does not compress: blocks of sorted keys with
values, and a last block that says where the others are. The values are protocol buffers, a header
and one BundleEntryProto a tensor (TensorFlow's tensor_bundle.proto).
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import UserError

_FOOTER_SIZE, _MAGIC = 48, bytes.fromhex("57fb808b247547db")
# Fields of a BundleEntryProto; BundleHeaderProto has the number of files in its field 1.
_DTYPE, _SHAPE, _FILE, _OFFSET, _SIZE = 1, 2, 3, 4, 5
_FLOAT32 = 1
_LONGEST = 4096  # bytes of a key
# Bytes of a value of a protocol buffer by its wire type, beside integers; None: its length is
# written before it.
_SIZES = {1: 8, 2: None, 5: 4}
# A key is the attribute path of a variable with this behind it, and one of these for each number
# that the optimizer keeps.
_VARIABLE, _OPTIMIZER = "/.ATTRIBUTES/VARIABLE_VALUE", "/.OPTIMIZER_SLOT/"


def read_tensorflow_checkpoint(path: str) -> dict[str, Tensor]:
    """Read the float32 variables of an object-based checkpoint.

    Args:
        path: the file ``.index``; those with the numbers are beside it.

    Returns:
        The variables by attribute path, as ``encoder/_stem/_conv1_bn_act/_conv/kernel``. Counters
        and what optimizers keep of each variable are left out.

    Raises:
        UserError: the file is damaged or no index, or the numbers are missing or cut off.
    """
    try:
        with open(path, "rb") as file:
            entries = {key.decode(): _fields(value) for key, value in _table(file.read())}
        num_files = entries.pop("")[1][0]
        variables = {
            key.removesuffix(_VARIABLE): entry
            for key, entry in entries.items()
            if key.endswith(_VARIABLE) and _OPTIMIZER not in key and entry[_DTYPE] == [_FLOAT32]
        }
        _check_overlap(variables.values())
        stem = path.removesuffix(".index")
        return {key: _tensor(entry, stem, num_files) for key, entry in variables.items()}
    except FileNotFoundError as error:
        raise UserError(
            f"'{error.filename}' is missing: the numbers of '{path}' must be beside it."
        ) from error
    except (
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:  # of bytes that are anything else
        raise UserError(
            f"'{path}' cannot be read: it or a file of its numbers is damaged, or it is no "
            "checkpoint of TensorFlow 2."
        ) from error


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a whole table."""
    if not data.endswith(_MAGIC):
        raise ValueError("no table of LevelDB")
    footer = BytesIO(data[-_FOOTER_SIZE:])
    _varint(footer), _varint(footer)  # where the statistics are
    for _, place in _block(data, footer):
        yield from _block(data, BytesIO(place))


def _block(data: bytes, place: BytesIO) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block; ``place`` has its position and size."""
    start, size = _varint(place), _varint(place)
    end = start + size
    if data[end] != 0:
        raise ValueError("compressed")
    num_restarts = int.from_bytes(data[end - 4 : end], "little")
    entries, key = data[start : end - 4 * (num_restarts + 1)], b""
    stream = BytesIO(entries)
    while stream.tell() < len(entries):
        shared, own, size = _varint(stream), _varint(stream), _varint(stream)
        key = key[:shared] + stream.read(own)  # begins as the key before
        if len(key) > _LONGEST:  # a byte each could make megabytes
            raise ValueError("no path of a variable")
        yield key, stream.read(size)


def _fields(message: bytes) -> dict[int, list]:
    """Values of a protocol buffer by field number: integers, and bytes of all else."""
    fields, stream = {}, BytesIO(message)
    while stream.tell() < len(message):
        number, kind = divmod(_varint(stream), 8)
        value = stream.read(_SIZES[kind] or _varint(stream)) if kind else _varint(stream)
        fields.setdefault(number, []).append(value)
    return fields


def _varint(stream: BytesIO) -> int:
    """The next integer: 7 bits a byte, lowest first; the last byte is below 128."""
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        if byte == byte & 127:
            return value
        shift += 7


def _number(entry: dict[int, list], field: int) -> int:
    return entry.get(field, [0])[0]  # 0 is not written


def _check_overlap(entries: Iterable[dict[int, list]]) -> None:
    """Refuse numbers that are of two variables: a small file could fill the memory."""
    places = sorted(tuple(_number(e, field) for field in (_FILE, _OFFSET, _SIZE)) for e in entries)
    for (file, offset, size), (next_file, next_offset, _) in pairwise(places):
        if file == next_file and offset + size > next_offset:
            raise ValueError("two variables in one place")


def _tensor(entry: dict[int, list], stem: str, num_files: int) -> Tensor:
    file, offset = _number(entry, _FILE), _number(entry, _OFFSET)
    path = f"{stem}.data-{file:05d}-of-{num_files:05d}"
    array = np.memmap(path, "<f4", "r", offset, _shape(entry))
    if entry[_SIZE] != [array.nbytes]:
        raise ValueError("not in one piece")
    return torch.from_numpy(np.array(array))


def _shape(entry: dict[int, list]) -> tuple[int, ...]:
    dims = _fields(entry[_SHAPE][0]).get(2, [])
    return tuple(_fields(dim)[1][0] for dim in dims)

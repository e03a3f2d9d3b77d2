"""Files of ``torch.save``: nothing but plain tensors and values, in parts that are whole.

``torch.load(weights_only=True)`` runs no code, but it compares no checksums, older versions of it
believe a file that gives a part a larger size than it has, and its rebuilding of sparse, quantized
and nested tensors believes yet more. Here a file is read without making a tensor first.
"""

import os
import pickle
import re
import zipfile
from io import BytesIO
from typing import IO, Any

from ..utils.errors import DamagedFileError, UserError

_CHUNK = 2**20  # bytes
# As torch decides; an older file is pickles one after the other: a number, a version, the machine,
# what was saved, and the names of the parts behind them.
_ZIP, _NUM_PICKLES = b"PK\x03\x04", 5
# Bytes of a number in a part.
_SIZES = {
    **dict.fromkeys(("BoolStorage", "ByteStorage", "CharStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
# What files of plain tensors, and of settings beside them, name.
_PLAIN = re.compile(
    r"torch \w+Storage|torch\._utils _rebuild_(tensor(_v2)?|parameter)"
    r"|torch (Size|device|bool|(b?float|u?int)\d+)"
    r"|collections (OrderedDict|Counter)|(__builtin__|builtins) (set|bytearray|complex)"
    r"|_codecs encode"
)


def check_torch_file(path: str, trust: bool) -> None:
    """Refuse a file that was changed or does not hold plain tensors and values alone.

    Args:
        trust: whatever it holds is accepted.

    Raises:
        UserError: it names something else, as a quantized tensor or a function.
        DamagedFileError: it is a zip file with parts that are compressed, or together larger
            than it.
        Exception: of any other kind, if it is damaged or no such file.
    """
    with open(path, "rb") as file:
        if file.read(len(_ZIP)) == _ZIP:
            _check_archive(path, trust)
        elif not trust:
            file.seek(0)
            for _ in range(_NUM_PICKLES):
                _Reader(path, file).load()


def _check_archive(path: str, trust: bool) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        # torch takes the first of these, zipfile the last.
        if len({part.filename.lower() for part in parts}) < len(parts):
            raise ValueError("two parts of one name")
        _check_size(path, parts)
        for part in parts:
            if part.CRC:  # torch can be told to write none
                with archive.open(part) as file:
                    while file.read(_CHUNK):
                        pass  # a changed part raises BadZipFile at its end
        if trust:
            return
        root = parts[0].filename.partition("/")[0]
        sizes = {part.filename: part.file_size for part in parts}
        _Reader(path, BytesIO(archive.read(f"{root}/data.pkl")), root, sizes).load()


def _check_size(path: str, parts: list[zipfile.ZipInfo]) -> None:
    """Refuse a small file that fills the memory: its parts are together larger than it is."""
    is_stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not is_stored or sum(part.file_size for part in parts) > os.path.getsize(path):
        raise DamagedFileError(
            f"'{path}' has compressed or overlapping parts, which torch.save never writes and "
            "which can fill the memory: load it where it was made, and save it again."
        )


class _Reader(pickle._Unpickler):
    """Goes through a pickle with stand-ins for all that it names.

    It is the standard library's unpickler in Python, whose memory does not grow with wrong indices.
    """

    def __init__(
        self, path: str, file: IO[bytes], root: str = "", sizes: dict[str, int] | None = None
    ):
        super().__init__(file, encoding="latin1")
        self.path, self.root, self.sizes = path, root, sizes

    def find_class(self, module: str, name: str) -> "_StandIn":
        if not _PLAIN.fullmatch(f"{module} {name}"):
            held = f"{module}.{name}"
            raise UserError(
                f"'{self.path}' cannot be read: it holds {held!r:.80}, no plain tensors and values "
                "alone (Python objects can run code; if you trust its source, psformer "
                "convert-weights --trust loads them)."
            )
        return _StandIn(name)

    def persistent_load(self, pid: Any) -> None:
        """A part of the file; of older ones torch itself compares the sizes."""
        if self.sizes is not None:
            _, kind, key, _, count = pid
            if self.sizes[f"{self.root}/data/{key}"] != count * _SIZES[kind.name]:
                raise ValueError("a part has another size than the file says")


class _StandIn:
    """Takes the place of a class or function, and of what it makes."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *_: Any) -> Any:
        return _Dict() if self.name in ("OrderedDict", "Counter") else _StandIn("")

    def __setstate__(self, state: Any) -> None:
        raise ValueError("attributes of a tensor")


class _Dict(dict):
    """A dict whose attributes are those that torch gives to the state dict of a module."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.keys() != {"_metadata"}:
            raise ValueError("attributes that take the place of methods")

"""Reading and writing the files of a data set, with errors that name the file."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif")


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary file beside ``path`` that takes its name only if the block succeeds.

    Folders on the way are made. A reader sees the old file or the whole new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as JSON, atomically."""
    with atomic_write(path, "w") as file:
        json.dump(value, file)


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the file.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFoundError(
            f"JSON file '{path}' does not exist: check the path and DETECTRON2_DATASETS."
        ) from error
    except ValueError as error:  # both what json and what the UTF-8 decoder raise
        raise ValueError(
            f"'{path}' is not valid JSON ({error}): download or write it again."
        ) from error


class FolderIndex:
    """All files below a folder, listed once instead of being asked for one by one.

    Raises:
        FileNotFoundError: the folder does not exist.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.fspath(folder)
        if not os.path.isdir(self.folder):
            raise FileNotFoundError(
                f"Folder '{folder}' does not exist: check the path and DETECTRON2_DATASETS."
            )
        self._paths: set[str] = set()
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for root, _, names in os.walk(self.folder):
            inside = os.path.relpath(root, self.folder)
            for name in names:
                path = os.path.normpath(os.path.join(inside, name))
                self._paths.add(path)
                self._by_name.setdefault(name, []).append(path)
                self._by_stem.setdefault(os.path.splitext(name)[0], []).append(path)

    def find(self, name: str, extensions: tuple[str, ...]) -> str | None:
        """Full path of the file called ``name``, or None.

        Looked for in this order: this very path below the folder; a file of this name in any
        sub-folder; a file of this stem with one of the ``extensions``.

        Raises:
            ValueError: several files fit equally well.
        """
        path = os.path.normpath(name)
        if path in self._paths:
            return os.path.join(self.folder, path)
        base = os.path.basename(path)
        fits = self._by_name.get(base) or [
            other
            for other in self._by_stem.get(os.path.splitext(base)[0], [])
            if other.lower().endswith(extensions)
        ]
        if len(fits) > 1:
            raise ValueError(
                f"'{name}' could be '{fits[0]}' or '{fits[1]}' in '{self.folder}': write the path "
                "below that folder as 'file_name' in the JSON, or remove one of them."
            )
        return os.path.join(self.folder, fits[0]) if fits else None

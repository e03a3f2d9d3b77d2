"""Finding the files of a data set."""

import os
import unicodedata
from pathlib import Path

from ..utils.errors import UserError

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif")


class FolderIndex:
    """All files below a folder, listed once instead of being asked for one by one.

    Names are compared in the Unicode form NFC: macOS and others write the same name in two ways.

    Raises:
        UserError: the folder does not exist.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = os.fspath(folder)
        if not os.path.isdir(self.folder):
            raise UserError(
                f"Folder '{folder}' does not exist: check the path and DETECTRON2_DATASETS."
            )
        self._listed = {Path(self.folder).resolve()}
        self._by_path: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for root, folders, names in os.walk(self.folder, followlinks=True):
            folders[:] = [f for f in folders if self._is_new(Path(root, f))]
            inside = os.path.relpath(root, self.folder)
            for name in names:
                path, key = os.path.normpath(os.path.join(inside, name)), _key(name)
                self._by_path.setdefault(_key(path), []).append(path)
                self._by_name.setdefault(key, []).append(path)
                self._by_stem.setdefault(os.path.splitext(key)[0], []).append(path)

    def paths(self, ending: str) -> list[str]:
        """The files whose names end so, in small or capital letters, as sorted paths below the
        folder."""
        listed = (path for paths in self._by_path.values() for path in paths)
        return sorted(path for path in listed if path.lower().endswith(ending.lower()))

    def _is_new(self, folder: Path) -> bool:
        """False for a folder listed before, and for a link to what is listed anyway or above it."""
        real, top = folder.resolve(), Path(self.folder).resolve()
        is_related = real.is_relative_to(top) or top.is_relative_to(real)
        if real in self._listed or (folder.is_symlink() and is_related):
            return False
        self._listed.add(real)
        return True

    def find(self, name: str, extensions: tuple[str, ...]) -> str | None:
        """Full path of the file called ``name``, or None.

        Looked for in this order: this very path below the folder; a file of this name in any
        sub-folder; a file of this stem with one of the ``extensions``. A name that was written on
        Windows may have backslashes.

        Raises:
            UserError: several files fit equally well.
        """
        path = os.path.normpath(name)
        if _key(path) not in self._by_path:
            path = os.path.normpath(name.replace("\\", "/"))
        base = _key(os.path.basename(path))
        fits = (
            self._by_path.get(_key(path))
            or self._by_name.get(base)
            or [
                other
                for other in self._by_stem.get(os.path.splitext(base)[0], [])
                if other.lower().endswith(extensions)
            ]
        )
        if len(fits) > 1 and path not in fits:
            raise UserError(
                f"'{name}' could be '{fits[0]}' or '{fits[1]}' in '{self.folder}': write the path "
                "below that folder as 'file_name' in the JSON, or remove one of them."
            )
        return os.path.join(self.folder, path if path in fits else fits[0]) if fits else None


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name)

"""Images and videos that a user names on the command line, with a name each for their results."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.files import IMAGE_EXTENSIONS
from ..utils.errors import UserError
from ..utils.files import comparable_name, safe_name

VIDEO_EXTENSIONS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Input:
    """An image or a video.

    Attributes:
        name: for its results: the file's name without extension, shortened where it is very long,
            with a number where another input has it.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_EXTENSIONS


def find_inputs(given: Sequence[str]) -> list[Input]:
    """List the files behind files, folders (not what is below them) and glob patterns.

    Of several, one that does not exist is listed too: it fails when it is read, not the others.

    Raises:
        UserError: nothing exists, a folder has no image or video, or a pattern fits no file.
    """
    found = [_expand(one) for one in given]
    if given and not any(found):
        raise UserError(f"'{given[0]}' does not exist: check the path.")
    found = [paths or [Path(one)] for paths, one in zip(found, given, strict=True)]
    paths = {os.path.abspath(path): path for some in found for path in some}  # each once
    names = _unique_stems(paths.values())
    return [Input(path, name) for path, name in zip(paths.values(), names, strict=True)]


def _expand(given: str) -> list[Path]:
    """Empty for a file that does not exist, or cannot: its name is too long."""
    path = Path(given).expanduser()
    if os.path.isdir(path):
        known = IMAGE_EXTENSIONS + VIDEO_EXTENSIONS
        found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in known)
        if not found:
            raise UserError(f"Folder '{given}' has no image and no video.")
        return found
    if os.path.exists(path):
        return [path]
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found and glob.has_magic(given):
        raise UserError(f"'{given}' fits no file: check the path.")
    return found


def _unique_stems(paths: Iterable[Path]) -> list[str]:
    """File names without extension and with numbers, different on every file system."""
    names, taken = [], set()
    for path in paths:
        stem = safe_name(path.stem)
        name, number = stem, 1
        while comparable_name(name) in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(comparable_name(name))
        names.append(name)
    return names

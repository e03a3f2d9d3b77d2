"""What a user names on the command line: images and videos, with a name each for their results."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.files import IMAGE_EXTENSIONS

VIDEO_EXTENSIONS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Input:
    """An image or a video.

    Attributes:
        name: for its results: the file's name without extension, with a number where that is taken.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEO_EXTENSIONS


def find_inputs(given: Sequence[str]) -> list[Input]:
    """List the files behind files, folders (not what is below them) and glob patterns.

    Raises:
        FileNotFoundError: something is not there, a folder has no image or video, or a pattern fits
            no file.
    """
    paths = dict.fromkeys(path for one in given for path in _expand(one))  # each file once
    return [Input(path, name) for path, name in zip(paths, _unique_stems(paths), strict=True)]


def _expand(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_dir():
        known = IMAGE_EXTENSIONS + VIDEO_EXTENSIONS
        found = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in known)
        if not found:
            raise FileNotFoundError(f"Folder '{given}' has no image or video: check --input.")
        return found
    if path.exists():
        return [path]
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise FileNotFoundError(f"'{given}' does not exist: check --input.")
    return found


def _unique_stems(paths: Iterable[Path]) -> list[str]:
    names, taken = [], set()  # taken in small letters: some file systems do not tell them apart
    for path in paths:
        name, number = path.stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names

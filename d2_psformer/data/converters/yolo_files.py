"""The images and label texts of a split in YOLO's data.yaml."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...utils.errors import UserError
from ..files import IMAGE_EXTENSIONS, FolderIndex
from .records import Source


def images_of_split(content: dict[str, Any], source: Source) -> list[Path]:
    """The images of a split, each once.

    An entry is a folder, a text file with an image a line, or a list of both. They are relative to
    ``path`` of the YAML, and lines to the folder of their text file too. Beside ``path``, which is
    often that of another machine, the YAML's own folder is tried; some exports write
    ../train/images for train/images.

    Args:
        content: of the YAML.
        source: its ``images``, if given, take the place of the entry.

    Raises:
        UserError: there is no such entry or file, or there are no images.
    """
    if source.images:
        return _checked(_images_below(source.images), f"Folder '{source.images}'")
    what = f"'{source.split}' of '{source.path}'"
    entries = content.get(source.split)
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list) or not all(isinstance(e, str) and e for e in entries):
        raise UserError(
            f"{what} is {content.get(source.split)!r}: write folders of images, or text files that "
            "list them, choose another --split, or name a folder with --images."
        )
    here = source.path.parent
    bases = [here / str(content.get("path") or ""), here]
    found: list[Path] = []
    for entry in entries:
        path = _existing(entry, bases)
        if path is None:
            raise UserError(
                f"'{entry}', the '{source.split}' of '{source.path}', is not there: correct it or "
                "'path', or name a folder with --images."
            )
        if path.is_dir():
            found += _images_below(path)
        elif path.suffix.lower() == ".txt":
            found += _listed_images(path, bases)
        else:
            raise UserError(
                f"'{entry}', the '{source.split}' of '{source.path}', is neither a folder of "
                "images nor a .txt that lists them."
            )
    return _checked(found, what)


def common_folder(images: Sequence[Path]) -> Path:
    """The folder that holds all images.

    Raises:
        UserError: it is the root of the file system.
    """
    folder = Path(os.path.commonpath([image.parent for image in images]))
    if folder == folder.parent:
        raise UserError(
            f"'{images[0]}' and '{images[-1]}' have no folder in common: move or link the images "
            "to one."
        )
    return folder


def label_text(image: Path) -> Path:
    """The path with the last folder ``images`` as ``labels``; without such a folder, in a folder
    ``labels`` beside that of the image, or beside the image."""
    parts = list(image.with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            return Path(*parts[:place], "labels", *parts[place + 1 :])
    apart = image.parents[1] / "labels" / f"{image.stem}.txt"
    return apart if apart.exists() else image.with_suffix(".txt")


def _existing(name: str, bases: Sequence[Path]) -> Path | None:
    """The first path that exists of a name below each of the folders, as an absolute path."""
    slashes = name.replace("\\", "/")
    names = dict.fromkeys((name, slashes, slashes.removeprefix("../")))
    paths = (Path(os.path.abspath(base / name)) for base in bases for name in names)
    return next((path for path in paths if path.exists()), None)


def _listed_images(text: Path, bases: Sequence[Path]) -> Iterator[Path]:
    try:
        lines = text.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{text}' is no text in UTF-8: write the path of an image a line."
        ) from error
    for line in filter(None, map(str.strip, lines)):
        path = _existing(line, [text.parent, *bases])
        if path is None:
            raise UserError(
                f"'{line}' of '{text}' is not there: write a path that is absolute, or relative to "
                "the text's folder or to 'path' of the data.yaml."
            )
        if path.suffix.lower() not in IMAGE_EXTENSIONS:
            raise UserError(f"'{line}' of '{text}' is no image: write the path of one a line.")
        yield path


def _images_below(folder: Path) -> list[Path]:
    names = FolderIndex(folder).paths("")
    folder = Path(os.path.abspath(folder))
    return [folder / name for name in names if name.lower().endswith(IMAGE_EXTENSIONS)]


def _checked(images: Sequence[Path], what: str) -> list[Path]:
    if not images:
        raise UserError(f"{what} has no images: check its path.")
    return [*dict.fromkeys(images)]

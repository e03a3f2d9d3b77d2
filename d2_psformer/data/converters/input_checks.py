"""What is refused before a conversion begins, and images that would overwrite each other."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...utils.errors import UserError
from ...utils.files import comparable_name, safe_name
from .records import Reader, Source

_OPTIONS = {"suffixes": "--label-suffix and --image-suffix"}


def check_arguments(kind: str, reader: type[Reader], source: Source, folder: Path) -> None:
    """Refuse a source that is missing or of another kind, options that the format has no use for,
    and results among the sources.

    Args:
        kind: the name of the format.
        folder: of the results.
    """
    kinds = ("a file", "a folder")
    if not source.path.exists():
        raise UserError(f"'{source.path}' does not exist: check the path of the annotation.")
    if (is_folder := source.path.is_dir()) != reader.takes_folder:
        raise UserError(
            f"'{source.path}' is {kinds[is_folder]}, but the annotation of {kind} is "
            f"{kinds[not is_folder]}: give its path."
        )
    for field in dataclasses.fields(source):
        if field.name in ("path", "images", "split", *reader.uses):
            continue
        if getattr(source, field.name) != field.default:
            option = _OPTIONS.get(field.name, f"--{field.name}")
            raise UserError(f"The format {kind} has no use for {option}: leave it out.")
    if not source.split or source.split != safe_name(source.split):
        raise UserError(
            f"--split is '{source.split}', but files get their names from it: write train, val, ..."
        )
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file: name a folder for the result.")
    _check_folders(source, folder)


def _check_folders(source: Source, folder: Path) -> None:
    if source.images and not source.images.is_dir():
        raise UserError(f"'{source.images}' is no folder: name the folder of images with --images.")
    for read in filter(None, (source.path, source.images)):
        if read.is_dir() and folder.resolve().is_relative_to(read.resolve()):
            raise UserError(
                f"'{folder}' lies in '{read}', whose files are read: write to a folder outside."
            )


def check_images(images: Sequence[dict[str, Any]], source: Source) -> None:
    """Refuse no images at all, and two whose PNG would have one name."""
    if not images:
        raise UserError(f"'{source.path}' has no images: is it the annotation of this format?")
    first: dict[str, str] = {}
    for image in images:
        name = image["file_name"]
        stem = comparable_name(os.path.splitext(name)[0])
        if (other := first.get(stem)) == name:
            raise UserError(f"Image '{name}' is annotated twice in '{source.path}': keep one.")
        if other:
            raise UserError(
                f"Images '{other}' and '{name}' of '{source.path}' would both be written to one "
                "PNG: keep one, or give them different names."
            )
        first[stem] = name

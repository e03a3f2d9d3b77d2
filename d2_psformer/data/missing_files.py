"""Files that a data set names and its folders lack, or the reverse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..utils.errors import UserError
from ..utils.files import read_json
from ..utils.wording import counted
from .files import IMAGE_EXTENSIONS, FolderIndex
from .findings import Finding, several


def missing_files(metadata: Any) -> list[Finding]:
    """One error for each image or panoptic PNG that the JSON of a data set names in vain.

    Args:
        metadata: of the catalog.
    """
    json_file = metadata.get("panoptic_json", None) or metadata.get("json_file", None)
    root = metadata.get("image_root", None)
    if not json_file or not root or not Path(json_file).is_file():
        return []
    content = read_json(json_file)
    named = [("Image", root, IMAGE_EXTENSIONS, content.get("images", []))]
    if folder := metadata.get("panoptic_root", None):
        named.append(("Panoptic PNG", folder, (".png",), content.get("annotations", [])))
    findings = []
    for kind, folder, extensions, entries in named:
        try:
            index = FolderIndex(folder)
            names = [entry["file_name"] for entry in entries]
            lost = [name for name in names if index.find(name, extensions) is None]
        except (UserError, KeyError, TypeError):  # loading has a better sentence
            return []
        for name in lost:
            sentence = f"{kind} '{name}' of '{json_file}' is not in '{folder}': add it."
            findings.append(Finding("error", "missing", sentence))
    return findings


def unused_images(metadata: Any, used: Sequence[str]) -> list[Finding]:
    """A note if the folder of images has more than the data set uses."""
    root = metadata.get("image_root", None)
    if not root or not Path(root).is_dir():
        return []
    known = {Path(path).resolve() for path in used}
    images = [p for extension in IMAGE_EXTENSIONS for p in FolderIndex(root).paths(extension)]
    if not (others := [path for path in images if Path(root, path).resolve() not in known]):
        return []
    sentence = (
        f"The data set does not use {counted(len(others), 'image')} of '{root}': {several(others)}."
    )
    return [Finding("note", "unused files", sentence)]

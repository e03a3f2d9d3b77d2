"""``data.yaml``: the config fragment that names the files of a data set, beside them."""

import ast
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..utils.errors import UserError
from ..utils.files import atomic_write
from ..utils.safe_yaml import read_yaml

StrPath = str | os.PathLike
DESCRIPTION = "data.yaml"


def read_data_yaml(path: StrPath) -> dict[str, Any]:
    """The content of a ``data.yaml``, to be merged into a config.

    The files of ``DATASETS.REGISTER``, which are relative to the YAML file, become absolute paths.

    Args:
        path: the file, or the folder that holds it.

    Raises:
        UserError: there is no such file, or it is no mapping with a list ``DATASETS.REGISTER`` of
            names and paths.
    """
    file = Path(path).expanduser()
    file = file / DESCRIPTION if file.is_dir() else file
    content = _load(file)
    datasets = content["DATASETS"]
    register = [_absolute(entry, file) for entry in datasets["REGISTER"]]
    return {**content, "DATASETS": {**datasets, "REGISTER": register}}


def add_to_data_yaml(folder: StrPath, name: str, files: Sequence[Any], *, training: bool) -> Path:
    """Add a data set to the ``data.yaml`` of a folder, or replace the one of that name.

    What else the file holds stays; comments do not.

    Args:
        files: what follows the name in ``DATASETS.REGISTER``; text is a path, and is stored
            relative to the folder unless it is empty.
        training: the data set is for ``DATASETS.TRAIN`` instead of ``DATASETS.TEST``.

    Returns:
        The path of the file.

    Raises:
        UserError: the file that is there has no ``DATASETS.REGISTER``: it is of another program.
    """
    path = Path(folder, DESCRIPTION)
    content = _load(path) if path.exists() else {"DATASETS": {"REGISTER": []}}
    datasets = content["DATASETS"]
    relative = [_relative(part, folder) if isinstance(part, str) else list(part) for part in files]
    others = [entry for entry in datasets["REGISTER"] if entry[:1] != [name]]
    datasets["REGISTER"] = [*others, [name, *relative]]
    key = "TRAIN" if training else "TEST"
    datasets[key] = sorted({*_names(datasets.get(key, [])), name})
    with atomic_write(path, "w") as file:
        yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True, width=100)
    return path


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path.read_bytes(), f"'{path}'")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"'{path}' does not exist: give a data.yaml or its folder, as `psformer convert-data` "
            "writes it."
        ) from error
    datasets = content.get("DATASETS")
    if not isinstance(datasets, dict) or not isinstance(datasets.get("REGISTER"), list):
        raise UserError(
            f"'{path}' has no list DATASETS.REGISTER: write it with `psformer convert-data`, or "
            "add an entry [name, image folder, ...] per split."
        )
    return content


def _absolute(entry: Any, file: Path) -> list[Any]:
    if not isinstance(entry, list) or len(entry) < 3 or not all(map(_is_part, entry)):
        raise UserError(
            f"DATASETS.REGISTER of '{file}' has the entry {entry!r}: write [name, image folder, "
            "...] with the files of one data set."
        )
    name, *parts = entry
    return [name, *(_below(part, file) if isinstance(part, str) else part for part in parts)]


def _is_part(value: Any) -> bool:
    return isinstance(value, str | list)


def _below(path: str, file: Path) -> str:
    """ "" stands for no file."""
    return path and os.path.abspath(file.parent / Path(path).expanduser())


def _relative(path: str, folder: StrPath) -> str:
    return path and Path(os.path.relpath(path, folder)).as_posix()


def _names(value: Any) -> Sequence[str]:
    """Names as a list, or in the notation of configs: ``("a", "b")``."""
    return ast.literal_eval(value) if isinstance(value, str) else value

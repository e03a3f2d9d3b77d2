"""Config files: safe YAML, laid over the ``_BASE_`` files that it names."""

import os
from typing import Any

import yaml
from fvcore.common.config import BASE_KEY

from ...utils.errors import UserError
from ..utils.file_io import PathManager

_VERSION = 2


def read_config_file(filename: str) -> dict[str, Any]:
    """The mapping in a YAML file, laid over those of its ``_BASE_`` (one file or a list).

    Base files are looked up relative to the file that names them. No file can run code: YAML's
    tags for Python objects are refused.

    Raises:
        FileNotFoundError: the file or a base of it is missing.
        ValueError: one of the files is no safe YAML, no mapping or its own base, or the config is
            of another VERSION than 2; one sentence naming the file.
    """
    try:
        content = _with_bases(filename, ())
    except RecursionError as error:
        raise UserError(f"Config file '{filename}' is nested without end.") from error
    version = content.get("VERSION", _VERSION)
    if version != _VERSION:
        raise UserError(
            f"Config file '{filename}' has VERSION {version!r}, but only VERSION {_VERSION} is "
            "read here: convert it with Detectron2's upgrade_config."
        )
    return content


def _with_bases(filename: str, below: tuple[str, ...]) -> dict[str, Any]:
    """The mapping of ``filename``, a base of the last file in ``below``, a base of the one before.

    It shares no dict with what was read.
    """
    if os.path.realpath(filename) in map(os.path.realpath, below):
        raise UserError(
            f"Config file '{filename}' is its own {BASE_KEY} "
            f"({' -> '.join((*below, filename))}): remove it from one of them."
        )
    loaded = _read_mapping(filename)
    bases = loaded.pop(BASE_KEY, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"Config file '{filename}': {BASE_KEY} must be a file name or a list.")
    merged: dict[str, Any] = {}
    for base in bases:
        path = os.path.expanduser(base)
        if "://" not in path:
            path = os.path.join(os.path.dirname(filename), path)
        _lay_over(merged, _with_bases(path, (*below, filename)), filename)
    _lay_over(merged, loaded, filename)
    return merged


def _read_mapping(filename: str) -> dict[str, Any]:
    if not PathManager.isfile(filename):
        raise UserError(f"Config file '{filename}' does not exist.")
    with PathManager.open(filename, "r") as file:
        try:
            content = yaml.safe_load(file)
        except (OSError, RecursionError):
            raise
        # Values that do not suit their tag can fail in any way. A python/... tag ends here too: it
        # could run code, and is never needed.
        except Exception as error:
            problem = " ".join(str(error).split())
            raise UserError(f"Config file '{filename}' is no safe YAML: {problem}.") from error
    if not isinstance(content, dict):
        raise UserError(f"Config file '{filename}' holds no 'KEY: value' pairs.")
    return content


def _lay_over(base: dict, top: dict, filename: str) -> None:
    """Write ``top`` into ``base`` in place, recursively."""
    for key, value in top.items():
        if not isinstance(value, dict):
            base[key] = value
            continue
        inner = base.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UserError(
                f"Config file '{filename}' gives keys below '{key}', which has a plain value "
                f"in its {BASE_KEY}: make the two agree."
            )
        _lay_over(inner, value, filename)

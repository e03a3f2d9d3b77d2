"""The config tree: Detectron2's keys and defaults, safe YAML files, clear errors."""

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode as _CfgNode

from ...utils.safe_yaml import read_yaml
from ..errors import UnknownKeyError, UserError
from ..utils.file_io import PathManager
from .advice import advise_key, can_be_key, explain_value

_VERSION = 2
_DEFAULTS = Path(__file__).with_name("defaults.yaml")
# The one form of evaluated list in configs for Detectron2 that is read, without evaluating it:
# short sides of images, as multiples of a tenth of one.
_SIZES = re.compile(
    rb'!!python/object/apply:eval \["\[int\(x \* 0\.1 \* (\d{1,4})\) '
    rb'for x in range\((\d{1,3}), (\d{1,3})\)\]"\]'
)


class CheckedMerging:
    """Mixin for a ``CfgNode``: files cannot run code, and mistakes are named in one sentence.

    The three merging methods raise :class:`UnknownKeyError` for a key that does not exist or that
    was renamed, and :class:`UserError` for a value of another type. A config is then merged in
    part.
    """

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """The mapping in a YAML file, laid over those of its ``_BASE_`` (one file or a list).

        Base files are looked up relative to the file that names them. ``allow_unsafe`` is ignored:
        YAML's tags for Python objects, which could run code, are always refused.

        Raises:
            UserError: the file or a base of it is missing, or is no safe YAML of a mapping.
        """
        return cls._load(filename, ())

    @classmethod
    def _load(cls, filename: str, users: tuple[str, ...]) -> dict[str, Any]:
        """As :meth:`load_yaml_with_base`; ``users`` are the files that have this one as a base."""
        loaded = cls._load_one(filename)
        bases = loaded.pop("_BASE_", [])
        merged: dict[str, Any] = {}
        for base in bases if isinstance(bases, list) else [bases]:
            if not isinstance(base, str) or not base or "://" in base or "\0" in base:
                raise UserError(
                    f"Config file '{filename}': _BASE_ has {base!r}: write the path of a config "
                    "file on this machine, or a list of such paths."
                )
            path = os.path.join(os.path.dirname(filename), os.path.expanduser(base))
            files = (*users, os.path.realpath(filename))
            if os.path.realpath(path) in files:
                raise UserError(f"Config file '{path}' is its own _BASE_, by way of '{filename}'.")
            _lay_over(merged, cls._load(path, files), filename)
        _lay_over(merged, loaded, filename)
        return cls(merged)

    @classmethod
    def _load_one(cls, filename: str) -> dict[str, Any]:
        """The mapping in a file alone."""
        if not PathManager.isfile(filename):
            raise UserError(f"Config file '{filename}' does not exist.")
        with PathManager.open(filename, "rb") as file:
            text = _SIZES.sub(_list_of_sizes, file.read())
        # The constructor copies values that YAML's aliases share.
        return read_yaml(text, f"Config file '{filename}'", cls)

    def merge_from_file(self, cfg_filename: str) -> None:
        """Merge a YAML file of config VERSION 2, see :meth:`load_yaml_with_base`."""
        self.merge_loaded(self.load_file(cfg_filename), cfg_filename)

    def load_file(self, cfg_filename: str) -> dict[str, Any]:
        """What :meth:`merge_from_file` merges."""
        loaded = self.load_yaml_with_base(cfg_filename)
        version = loaded.get("VERSION", _VERSION)
        if version != _VERSION:
            raise UserError(
                f"Config file '{cfg_filename}' has VERSION {version}, but only {_VERSION} is read "
                "here: convert it with Detectron2's upgrade_config."
            )
        return loaded

    def merge_loaded(self, loaded: dict[str, Any], cfg_filename: str) -> None:
        """Merge the content of a file, which messages name."""
        where = f" in config file '{cfg_filename}'"
        self._merge(super().merge_from_other_cfg, type(self)(loaded), where)

    def merge_from_other_cfg(self, cfg_other: _CfgNode) -> None:
        """Merge another config."""
        self._merge(super().merge_from_other_cfg, cfg_other)

    def merge_from_list(self, cfg_list: list[Any]) -> None:
        """Merge ``[key, value, key, value, ...]``, as it comes from a command line."""
        for key in map(str, cfg_list[::2]):
            if not can_be_key(key, self):
                raise UnknownKeyError(f"Unknown config key '{key}': {advise_key(key, self)}")
        if len(cfg_list) % 2:
            raise UserError(f"The key '{cfg_list[-1]}' has no value: write KEY VALUE KEY VALUE ...")
        self._merge(super().merge_from_list, cfg_list)

    def _merge(self, merge: Callable[[Any], None], given: Any, where: str = "") -> None:
        try:
            merge(given)
        except (KeyError, TypeError, ValueError, AssertionError) as error:
            problem = _one_line(error)
            if isinstance(error, ValueError):
                raise UserError(f"Wrong value{where}: {explain_value(problem, self)}") from error
            if not problem.startswith("Non-existent"):
                raise UnknownKeyError(f"Wrong key{where}: {problem}.") from error
            key = problem.partition(": ")[2]
            raise UnknownKeyError(
                f"Unknown config key '{key}'{where}: {advise_key(key, self)}"
            ) from error


class CfgNode(CheckedMerging, _CfgNode):
    """fvcore's ``CfgNode`` with checked merging."""


def get_cfg() -> CfgNode:
    """A new config with every key and default value of Detectron2."""
    return _default_cfg().clone()


@functools.cache
def _default_cfg() -> CfgNode:
    with _DEFAULTS.open() as file:
        # This loader reads !!python/tuple: defaults keep the types that Detectron2 gave them.
        return CfgNode(yaml.load(file, Loader=yaml.FullLoader))


def _lay_over(below: dict[str, Any], above: dict[str, Any], filename: str) -> None:
    """Put the values of ``above`` into ``below``, key by key."""
    for key, value in above.items():
        if not isinstance(key, str):
            raise UserError(f"Config file '{filename}': the key {key!r} is no text.")
        if not isinstance(value, dict):
            below[key] = value
        elif isinstance(below.setdefault(key, {}), dict):
            _lay_over(below[key], value, filename)
        else:
            raise UserError(
                f"Config file '{filename}': '{key}' is a group of keys here and none in its _BASE_."
            )


def _list_of_sizes(match: re.Match) -> bytes:
    size, start, stop = map(int, match.groups())
    return str([int(x * 0.1 * size) for x in range(start, stop)]).encode()


def _one_line(error: Exception) -> str:
    # str() of a KeyError has quotes around it.
    text = str(error.args[0] if isinstance(error, KeyError) else error)
    return " ".join(text.split()).removesuffix(".")

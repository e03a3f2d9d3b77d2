"""The config tree: Detectron2's keys and defaults, YAML files with ``_BASE_``, clear errors."""

import difflib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode as _CfgNode

from .config_file import read_config_file

_DEFAULTS = Path(__file__).with_name("defaults.yaml")


class UnknownKeyError(KeyError):
    """A config key that does not exist; unlike KeyError it prints as the plain sentence."""

    def __str__(self) -> str:
        return self.args[0]


class CfgNode(_CfgNode):
    """fvcore's ``CfgNode``, reading safe YAML only and naming what is wrong in one sentence."""

    @classmethod
    def load_yaml_with_base(cls, filename: str) -> dict[str, Any]:
        """See :func:`read_config_file`."""
        return read_config_file(filename)

    def merge_from_file(self, cfg_filename: str) -> None:
        """Merge a YAML file, with its ``_BASE_`` files, into this config.

        Raises:
            UnknownKeyError: a key of the file does not exist here; nothing is merged then.
            FileNotFoundError, ValueError: see :func:`read_config_file`.
            ValueError: a value is of another type.
        """
        loaded = type(self)(self.load_yaml_with_base(cfg_filename))
        self._check_keys(loaded, f" in config file '{cfg_filename}'")
        super().merge_from_other_cfg(loaded)

    def merge_from_other_cfg(self, cfg_other: _CfgNode) -> None:
        """Merge another config; raises :class:`UnknownKeyError` as :meth:`merge_from_file`."""
        self._check_keys(cfg_other)
        super().merge_from_other_cfg(cfg_other)

    def merge_from_list(self, cfg_list: list[Any]) -> None:
        """Merge ``[key, value, key, value, ...]``, as it comes from a command line."""
        known = set(_dotted_keys(self))
        for key in cfg_list[0::2]:
            renamed_or_gone = self.key_is_renamed(key) or self.key_is_deprecated(key)
            if key not in known and not renamed_or_gone:
                raise self._unknown(key)
        super().merge_from_list(cfg_list)

    def _check_keys(self, other: _CfgNode, where: str = "") -> None:
        for key in _missing_keys(other, self):
            if not (self.key_is_renamed(key) or self.key_is_deprecated(key)):
                raise self._unknown(key, where)

    def _unknown(self, key: str, where: str = "") -> UnknownKeyError:
        close = difflib.get_close_matches(key, list(_dotted_keys(self)), n=1)
        advice = f"did you mean '{close[0]}'?" if close else "no known key resembles it."
        return UnknownKeyError(f"Unknown config key '{key}'{where}: {advice}")


def get_cfg() -> CfgNode:
    """A new config with every key and default value of Detectron2."""
    return _default_cfg().clone()


@functools.cache
def _default_cfg() -> CfgNode:
    with _DEFAULTS.open() as file:
        return CfgNode(yaml.load(file, Loader=_DefaultsLoader))


class _DefaultsLoader(yaml.SafeLoader):
    """Safe YAML plus ``!tuple [...]``: a default keeps the type that Detectron2 gave it."""


def _construct_tuple(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> tuple:
    return tuple(loader.construct_sequence(node, deep=True))


_DefaultsLoader.add_constructor("!tuple", _construct_tuple)


def _dotted_keys(node: dict, prefix: str = "") -> Iterator[str]:
    """All keys below ``node`` as ``A.B.C``, inner nodes included."""
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _dotted_keys(value, f"{prefix}{key}.")


def _missing_keys(given: dict, known: _CfgNode, prefix: str = "") -> Iterator[str]:
    """Dotted keys of ``given`` that ``known`` has not, where it takes no new ones."""
    for key, value in given.items():
        if key not in known:
            if not known.is_new_allowed():
                yield f"{prefix}{key}"
        elif isinstance(value, dict) and isinstance(known[key], _CfgNode):
            yield from _missing_keys(value, known[key], f"{prefix}{key}.")

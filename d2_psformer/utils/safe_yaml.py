"""YAML of users: plain values alone, of a bounded size."""

from collections.abc import Callable
from typing import Any

import yaml

from .errors import UserError

# More than any config has; a few lines of aliases of aliases would fill the memory.
_MOST_CHARACTERS = 1_000_000
_MERGE = "tag:yaml.org,2002:merge"  # of the key "<<"


def read_yaml(text: str | bytes, whose: str, make: Callable[[dict], dict] = dict) -> dict[str, Any]:
    """The mapping that a YAML document is; its values may be shared where it has aliases.

    Args:
        text: the document; bytes are UTF-8, or UTF-16 with a mark.
        whose: the document in messages, as "Config file 'a.yaml'".
        make: builds the result from the mapping.

    Raises:
        UserError: it is no YAML or no mapping, has two values of a key, or tags of Python objects
            or of values that do not suit them, is nested without end, or has a million characters
            with its aliases written out.
    """
    try:
        loaded = yaml.load(text, Loader=_Loader)
        if not isinstance(loaded, dict):
            raise TypeError("there are none" if loaded is None else f"it is {loaded!r:.80}")
        return make(loaded)
    except Exception as error:  # A value that does not suit its tag can fail in any way.
        reason = "it is nested without end" if isinstance(error, RecursionError) else str(error)
        raise UserError(
            f"{whose} is no safe YAML of 'KEY: value' pairs: "
            f"{' '.join(reason.split()).removesuffix('.')}."
        ) from error


class _Loader(yaml.SafeLoader):
    def _is_same(self, a: yaml.Node, b: yaml.Node) -> bool:
        return self.construct_object(a, True) == self.construct_object(b, True)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        earlier: dict[tuple[str, str], yaml.Node] = {}
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            other = earlier.setdefault((key.tag, key.value), value)
            if other is not value and not self._is_same(other, value):
                raise ValueError(
                    f"'{key.value}' has two values, {_start(other)} and {_start(value)}"
                )
        return super().construct_mapping(node, deep)

    def compose_document(self) -> yaml.Node:
        node = super().compose_document()
        if _characters(node, {}) > _MOST_CHARACTERS:
            raise ValueError(f"with its aliases it has over {_MOST_CHARACTERS:,} characters")
        return node


def _start(node: yaml.Node) -> str:
    return f"in line {node.start_mark.line + 1}"


def _characters(node: yaml.Node, known: dict[int, int]) -> int:
    """Of all scalars, and one a node, with aliases written out.

    Args:
        known: the results so far, by ``id`` of the node.
    """
    if id(node) not in known:
        known[id(node)] = _MOST_CHARACTERS  # of a node in itself
        parts = node.value
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in parts for part in pair]
        is_scalar = isinstance(node, yaml.ScalarNode)
        inner = len(parts) if is_scalar else sum(_characters(part, known) for part in parts)
        known[id(node)] = 1 + inner
    return known[id(node)]

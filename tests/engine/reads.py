"""A record of the config keys that a training and its evaluation read."""

from collections.abc import Iterator
from contextlib import contextmanager

from d2_psformer.d2.config import CfgNode


@contextmanager
def recorded_reads(cfg: CfgNode) -> Iterator[set[str]]:
    """The keys of ``cfg``, or of a clone of it, that are read, as "A.B.C"."""
    beginnings = {id(node): prefix for node, prefix in _nodes(cfg)}
    found: set[str] = set()
    by_name, by_item, clone = CfgNode.__getattr__, dict.__getitem__, CfgNode.clone
    clones = []  # kept, as the ids of objects that are gone are used again

    def record(node: CfgNode, key: str) -> None:
        if id(node) in beginnings:
            found.add(f"{beginnings[id(node)]}{key}")

    def read_name(node: CfgNode, key: str):
        record(node, key)
        return by_name(node, key)

    def read_item(node: CfgNode, key: str):
        record(node, key)
        return by_item(node, key)

    def record_clone(node: CfgNode) -> CfgNode:
        clones.append(clone(node))
        beginnings.update((id(node), prefix) for node, prefix in _nodes(clones[-1]))
        return clones[-1]

    CfgNode.__getattr__, CfgNode.__getitem__ = read_name, read_item
    CfgNode.clone = record_clone
    try:
        yield found
    finally:
        del CfgNode.__getitem__, CfgNode.__getattr__, CfgNode.clone


def _nodes(node: CfgNode, prefix: str = "") -> Iterator[tuple[CfgNode, str]]:
    yield node, prefix
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _nodes(value, f"{prefix}{key}.")

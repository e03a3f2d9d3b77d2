"""What to say about a mistake in a config: the keys that may be meant, the type that is needed."""

import difflib
import re
from collections.abc import Iterator

# Nodes of Detectron2's other models, which nobody means here.
_OTHER_MODELS = re.compile(
    r"MODEL\.(ANCHOR_GENERATOR|FPN|PANOPTIC_FPN|PROPOSAL_GENERATOR|RESNETS|RETINANET|ROI_\w+|RPN|"
    r"SEM_SEG_HEAD)\b"
)
_MISMATCH = re.compile(
    r"Type mismatch \(<class '.*?(\w+)'> vs\. <class '.*?(\w+)'>\) .*for config key: (\S+)"
)


def can_be_key(key: str, root: dict) -> bool:
    """False for an option, for KEY=VALUE, and for what stands below a key that has a value."""
    parent = _find(key.rpartition(".")[0], root)
    is_below_value = parent is not None and not isinstance(parent, dict)
    return not (key.startswith("-") or "=" in key or is_below_value)


def advise_key(key: str, root: dict) -> str:
    """What to write instead of a key that does not exist."""
    if key.startswith("-"):
        return "options stand before the KEY VALUE pairs."
    if "=" in key:
        return f"write a space, '{key.replace('=', ' ', 1)}'."
    meant = [f"'{known}'" for known in _similar(key, [*_leaves(root)])]
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    parent, _, _ = key.rpartition(".")
    node = _find(parent, root) if parent else None
    below = node if isinstance(node, dict) else {}
    names = [name for name in below if not _OTHER_MODELS.match(f"{parent}.{name}")]
    return f"{parent} has {', '.join(names)}." if names else "no known key resembles it."


def explain_value(problem: str, root: dict) -> str:
    """A sentence on a value of a wrong type, from what fvcore says about it."""
    if not (match := _MISMATCH.match(problem)):
        return f"{problem}."
    needed, given, key = match.groups()
    value = _find(key, root)
    if isinstance(value, dict):
        return f"{key} is no key but a group of keys, as {key}.{next(iter(value))}."
    return f"{key} needs a value of type {needed} as {value!r}, not of type {given}."


def _similar(key: str, known: list[str]) -> list[str]:
    """At most three of the known keys, found in the first of several ways that finds any."""
    parent, _, name = key.upper().rpartition(".")
    words = {known_key: known_key.rpartition(".")[2].split("_") for known_key in known}
    siblings = [k for k in known if k.rpartition(".")[0] == parent]
    ways = (
        difflib.get_close_matches(key.upper(), siblings, cutoff=0.9),
        _with_words(name, siblings, words),
        [k for k in known if "_".join(words[k]) == name],
        [k for k in siblings if {w for w in words[k] if len(w) > 2} & set(name.split("_"))],
        [] if siblings else difflib.get_close_matches(key.upper(), known, cutoff=0.8),
        _with_words(name, known, words),
    )
    return next(filter(None, ways), [])[:3]


def _with_words(name: str, keys: list[str], words: dict[str, list[str]]) -> list[str]:
    """The keys that have all words of a name, and the fewest others."""
    found = [key for key in keys if set(name.split("_")) <= set(words[key])]
    fewest = min((len(words[key]) for key in found), default=0)
    return [key for key in found if len(words[key]) == fewest]


def _find(key: str, node: dict):
    """The value of a key "A.B.C"; None where there is none."""
    for part in filter(None, key.split(".")):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def _leaves(node: dict, prefix: str = "") -> Iterator[str]:
    """All keys with values below ``node`` as ``A.B.C``."""
    for key, value in node.items():
        if isinstance(value, dict) and not _OTHER_MODELS.match(prefix + key):
            yield from _leaves(value, f"{prefix}{key}.")
        elif not isinstance(value, dict):
            yield prefix + key

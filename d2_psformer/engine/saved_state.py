"""The state of a training as a checkpoint has it, compared with that of this run."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

from torch import Tensor

from ..utils.errors import UserError

_SEEDS = 2**63
_KINDS = (bool, Real, str, dict, list | tuple, Tensor)


def check_alike(own: Any, saved: Any, name: str) -> None:
    """Refuse a saved value of another kind than that of this run, in nested dicts and lists too.

    Lists of other lengths, and keys that only one side has, are left to what loads them.

    Raises:
        TypeError: names the value.
    """
    kind = next((kind for kind in _KINDS if isinstance(own, kind)), None)
    if kind is not None and saved is not None:
        if not isinstance(saved, kind) or isinstance(saved, bool) != (kind is bool):
            raise TypeError(f"'{name}' is {saved!r:.40} and not like {own!r:.40}")
    elif own is not None:
        raise TypeError(f"'{name}' is missing")
    elif saved is not None and not isinstance(saved, bool | Real | str):
        raise TypeError(f"'{name}' is {saved!r:.40}")
    if kind is dict:
        for key in own.keys() & saved.keys():
            check_alike(own[key], saved[key], key)
    elif kind == list | tuple:
        for mine, theirs in zip(own, saved, strict=False):
            check_alike(mine, theirs, name)


@contextmanager
def taking_over(own: dict[str, Any], saved: Any, source: str) -> Iterator[None]:
    """What the saved state of a training makes fail in this block is one sentence.

    Args:
        own: the state of this run.
        source: the file of the saved one, for the message.

    Raises:
        UserError: anything failed, or a value is of another kind than in ``own``.
    """
    try:
        check_alike(own, saved, "trainer")
        if saved["iteration"] < 0 or not 0 <= saved.get("seed", 0) < _SEEDS:
            raise ValueError(f"iteration {saved['iteration']}, seed {saved['seed']}")
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        raise UserError(
            f"The state of the training in {source} cannot be taken over ({reason:.200}): resume "
            "from another checkpoint, or start a new run from its weights (MODEL.WEIGHTS, without "
            "--resume)."
        ) from e

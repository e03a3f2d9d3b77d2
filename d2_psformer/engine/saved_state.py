"""The state of a training as a checkpoint has it, compared with that of this run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

from torch import Tensor

from ..d2.config import CfgNode
from ..utils.errors import UserError
from ..utils.safe_yaml import read_yaml

logger = logging.getLogger(__name__)

_SEEDS = 2**63
_OF_THE_BEGINNING = ("MODEL.WEIGHTS", "SOLVER.FINETUNE", "SEED")
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


def warn_of_another_beginning(cfg: CfgNode, saved: Any, source: str) -> None:
    """Warn of settings of a resumed run that only the beginning of a training reads.

    They are named where they differ from those that the training began with.

    Args:
        saved: the config of the run that began, as YAML; anything else has no settings.
        source: the checkpoint that holds it.

    Raises:
        UserError: the learning rate would not end at SOLVER.BASE_LR_END.
    """
    began = read_yaml(saved, f"The config in {source}") if isinstance(saved, str) else {}
    for key in _OF_THE_BEGINNING:
        here, there = _value(cfg, key), _value(began, key)
        if there is not None and here != there and (key != "SEED" or here < 0):
            logger.warning(
                "%s is %r as in %s, not %r as given here: it counts at the beginning of a "
                "training, and this one is resumed.", key, there, source, here
            )  # fmt: skip
    here, there = cfg.SOLVER.BASE_LR, _value(began, "SOLVER.BASE_LR")
    is_shared = cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupCosineLR" and cfg.SOLVER.BASE_LR_END
    if is_shared and there not in (None, here):
        raise UserError(
            f"SOLVER.BASE_LR is {here} and {there} in {source}, with which the rate would not end "
            "at BASE_LR_END: resume with the rate of that run, or set BASE_LR_END to 0."
        )


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config

"""Hooks for timing, writing, checkpoints, learning rate and evaluation."""

import logging
import math
import operator
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fvcore.common.checkpoint import Checkpointer
from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.param_scheduler import ParamScheduler
from fvcore.common.timer import Timer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler as _TorchLRScheduler

from ..solver import LRMultiplier
from ..utils import comm
from ..utils.events import EventWriter
from .train_loop import HookBase

__all__ = [
    "BestCheckpointer",
    "CallbackHook",
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
]

logger = logging.getLogger(__name__)


def _ignore(trainer) -> None:
    """Stand in for a callback that was not given."""


class CallbackHook(HookBase):
    """Functions of the trainer as a hook."""

    def __init__(self, *, before_train=None, after_train=None, before_step=None, after_step=None):
        self._before_train = before_train or _ignore
        self._before_step = before_step or _ignore
        self._after_step = after_step or _ignore
        self._after_train = after_train or _ignore

    def before_train(self):
        self._before_train(self.trainer)

    def before_step(self):
        self._before_step(self.trainer)

    def after_step(self):
        self._after_step(self.trainer)

    def after_train(self):
        self._after_train(self.trainer)
        # Closures often hold the trainer: let go of them.
        self._before_train = self._before_step = self._after_step = self._after_train = _ignore


class IterationTimer(HookBase):
    """Puts the seconds of every iteration (scalar ``time``) and logs a summary at the end.

    Put it first, so that the time of other hooks is not counted.
    """

    def __init__(self, warmup_iter: int = 3):
        self._warmup_iter = warmup_iter
        self._step_timer = Timer()
        self._total_timer = Timer()
        self._start_time = time.perf_counter()

    def before_train(self):
        self._start_time = time.perf_counter()
        self._total_timer.reset()
        self._total_timer.pause()

    def before_step(self):
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self):
        iterations_done = self.trainer.storage.iter - self.trainer.start_iter + 1
        if iterations_done >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=self._step_timer.seconds())
        else:
            self._start_time = time.perf_counter()
            self._total_timer.reset()
        self._total_timer.pause()

    def after_train(self):
        total = time.perf_counter() - self._start_time
        steps = self._total_timer.seconds()
        timed = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        if timed > 0 and steps > 0:
            logger.info(
                "Overall training speed: %d iterations in %s (%.4f s / it)",
                timed, timedelta(seconds=int(steps)), steps / timed,
            )  # fmt: skip
        logger.info(
            "Total training time: %s (%s on hooks)",
            timedelta(seconds=int(total)), timedelta(seconds=int(total - steps)),
        )  # fmt: skip


class PeriodicWriter(HookBase):
    """Calls the writers every ``period`` iterations, after the last one and at the end."""

    def __init__(self, writers: Sequence[EventWriter], period: int = 20):
        self._writers = writers
        self._period = period

    def after_step(self):
        done = self.trainer.iter + 1
        if done % self._period == 0 or done == self.trainer.max_iter:
            for writer in self._writers:
                writer.write()

    def after_train(self):
        for writer in self._writers:
            # Other hooks may have put results of a last evaluation.
            writer.write()
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's ``PeriodicCheckpointer`` as a hook: every ``period`` iterations and at the end."""

    def before_train(self):
        self.max_iter = self.trainer.max_iter

    def after_step(self):
        self.step(self.trainer.iter)


def _evaluates_now(trainer, period: int) -> bool:
    """Whether a periodic evaluation follows this iteration; the last one is left to the end."""
    done = trainer.iter + 1
    return period > 0 and done % period == 0 and done != trainer.max_iter


def _has_finished(trainer) -> bool:
    """Whether training came to its end, not to an error."""
    return trainer.iter + 1 >= trainer.max_iter


def _flatten(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``("a/b", 1)``."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


class EvalHook(HookBase):
    """Evaluates every ``eval_period`` iterations (0: never) and, if wanted, after the last.

    ``eval_function()`` returns a nested dict of numbers; they are put as scalars named
    "outer/inner". Use the hook in all processes or in none.
    """

    def __init__(
        self,
        eval_period: int,
        eval_function: Callable[[], dict | None],
        eval_after_train: bool = True,
    ):
        self._period = eval_period
        self._func = eval_function
        self._eval_after_train = eval_after_train

    def _do_eval(self):
        scalars = {}
        for name, value in _flatten(self._func() or {}):
            try:
                scalars[name] = float(value)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"The evaluation returned '{name}: {value}', which is not a number."
                ) from error
        self.trainer.storage.put_scalars(**scalars, smoothing_hint=False)
        # Some processes have more to evaluate: start the next iteration together.
        comm.synchronize()

    def after_step(self):
        if _evaluates_now(self.trainer, self._period):
            self._do_eval()

    def after_train(self):
        if self._eval_after_train and _has_finished(self.trainer):
            self._do_eval()
        # The function often holds the trainer: let go of it.
        del self._func


class BestCheckpointer(HookBase):
    """Saves ``<file_prefix>.pth`` whenever the metric of the evaluation just done is the best.

    Register it after the ``EvalHook`` and with the same period.

    Args:
        val_metric: name of the scalar, e.g. "panoptic_seg/PQ".
        mode: "max" or "min".
    """

    def __init__(
        self,
        eval_period: int,
        checkpointer: Checkpointer,
        val_metric: str,
        mode: str = "max",
        file_prefix: str = "model_best",
    ):
        if mode not in ("max", "min"):
            raise ValueError(f"BestCheckpointer's mode is '{mode}': it must be 'max' or 'min'.")
        self._period = eval_period
        self._checkpointer = checkpointer
        self._val_metric = val_metric
        self._is_better = operator.gt if mode == "max" else operator.lt
        self._file_prefix = file_prefix
        self.best_metric: float | None = None
        self.best_iter: int | None = None

    def _check(self):
        if self._val_metric not in self.trainer.storage.latest():
            logger.warning("Metric '%s' was not evaluated: no best model.", self._val_metric)
            return
        value, iteration = self.trainer.storage.latest()[self._val_metric]
        if not math.isfinite(value):
            return
        if self.best_metric is None or self._is_better(value, self.best_metric):
            self.best_metric, self.best_iter = value, iteration
            self._checkpointer.save(self._file_prefix, iteration=iteration)
            logger.info("Best %s so far: %.5f (saved)", self._val_metric, value)
        else:
            logger.info(
                "%s is %.5f, not better than %.5f of iteration %d",
                self._val_metric, value, self.best_metric, self.best_iter,
            )  # fmt: skip

    def after_step(self):
        if _evaluates_now(self.trainer, self._period):
            self._check()

    def after_train(self):
        if _has_finished(self.trainer):
            self._check()


class LRScheduler(HookBase):
    """Steps a torch scheduler, or a multiplier of the base rates, and puts the scalar ``lr``.

    What is not given is taken from the trainer.
    """

    def __init__(
        self,
        optimizer: Optimizer | None = None,
        scheduler: _TorchLRScheduler | ParamScheduler | None = None,
    ):
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _TorchLRScheduler | ParamScheduler:
        return self._scheduler or self.trainer.scheduler

    def before_train(self):
        self._optimizer = self._optimizer or self.trainer.optimizer
        if isinstance(self.scheduler, ParamScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer,
                self.scheduler,
                self.trainer.max_iter,
                last_iter=self.trainer.iter - 1,
            )
        self._shown_group = self.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer: Optimizer) -> int:
        """The group whose rate is shown: the largest, or one with the most common rate."""
        groups = optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if max(sizes) > 1:
            return sizes.index(max(sizes))
        rates = [group["lr"] for group in groups]
        return rates.index(Counter(rates).most_common(1)[0][0])

    def after_step(self):
        lr = self._optimizer.param_groups[self._shown_group]["lr"]
        self.trainer.storage.put_scalar("lr", lr, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self):
        if isinstance(self.scheduler, _TorchLRScheduler):
            return self.scheduler.state_dict()
        return {}

    def load_state_dict(self, state_dict: dict):
        if isinstance(self.scheduler, _TorchLRScheduler):
            self.scheduler.load_state_dict(state_dict)

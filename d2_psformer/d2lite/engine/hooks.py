"""Hooks for timing, writing, checkpoints, learning rate and evaluation."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

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
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
]

logger = logging.getLogger(__name__)


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

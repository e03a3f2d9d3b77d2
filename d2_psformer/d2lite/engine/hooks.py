"""Hooks for timing, writing, checkpoints, learning rate and evaluation."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler as _TorchLRScheduler

from ..utils import comm
from ..utils.events import EventWriter
from .train_loop import HookBase

logger = logging.getLogger(__name__)


class IterationTimer(HookBase):
    """Records the seconds of every iteration (scalar ``time``), without those of other hooks.

    Register it first. The first ``warmup_iter`` iterations are left out.
    """

    def __init__(self, warmup_iter: int = 3):
        self._warmup_iter = warmup_iter
        self._train_start = time.perf_counter()

    def before_train(self):
        self._train_start = time.perf_counter()

    def before_step(self):
        self._step_start = time.perf_counter()

    def after_step(self):
        seconds = time.perf_counter() - self._step_start
        if self.trainer.iter - self.trainer.start_iter + 1 >= self._warmup_iter:
            self.trainer.storage.put_scalars(time=seconds)

    def after_train(self):
        seconds = int(time.perf_counter() - self._train_start)
        logger.info("Total training time: %s", timedelta(seconds=seconds))


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
            writer.write()  # Other hooks may have recorded results of a last evaluation.
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's ``PeriodicCheckpointer`` as a hook: every ``period`` iterations and at the end."""

    def before_train(self):
        self.max_iter = self.trainer.max_iter

    def after_step(self):
        self.step(self.trainer.iter)


def _flatten(results: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` as ``("a/b", 1)``."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


class EvalHook(HookBase):
    """Evaluates every ``eval_period`` iterations (0: never) and, by default, after the last.

    ``eval_function()`` returns a nested dict of numbers, which become scalars named "outer/inner".
    Use the hook in all processes or in none.
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
        done = self.trainer.iter + 1  # The last evaluation is left to after_train.
        if self._period > 0 and done % self._period == 0 and done != self.trainer.max_iter:
            self._do_eval()

    def after_train(self):
        # Fewer iterations mean that training ended with an error.
        if self._eval_after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._do_eval()
        del self._func  # The function often holds the trainer, which could never be freed.


class LRScheduler(HookBase):
    """Steps a scheduler of learning rates after every iteration, and records the scalar ``lr``.

    By default, optimizer and scheduler are those of the trainer.
    """

    def __init__(
        self, optimizer: Optimizer | None = None, scheduler: _TorchLRScheduler | None = None
    ):
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self) -> _TorchLRScheduler:
        return self._scheduler or self.trainer.scheduler

    def before_train(self):
        self._optimizer = self._optimizer or self.trainer.optimizer
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

    def state_dict(self) -> dict:
        return self.scheduler.state_dict()

    def load_state_dict(self, state_dict: dict) -> None:
        self.scheduler.load_state_dict(state_dict)

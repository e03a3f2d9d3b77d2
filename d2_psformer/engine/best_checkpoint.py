"""The best checkpoint by a figure of the evaluation, and early stopping by it."""

import json
import logging
import math
import os
from pathlib import Path

from ..d2.engine import HookBase
from ..d2.utils import comm
from ..utils.errors import UserError
from ..utils.files import atomic_write
from ..utils.wording import counted
from .main_process import in_main_process

logger = logging.getLogger(__name__)

# The first of these that the evaluation has.
_METRICS = ("panoptic_seg/PQ", "sem_seg/mIoU", "segm/AP")
# What reading a damaged file of them raises.
_NO_FIGURES = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)


class StopTraining(BaseException):
    """Ends the loop of training early; no error, which the loop would log."""


class BestCheckpoint(HookBase):
    """Writes ``model_best.pth`` after the best evaluation so far; stops when none is better.

    ``evaluations.json`` has the figure of every evaluation by iteration, with which a resumed run
    goes on. Register it in all processes, after the hook that evaluates. A resumed run keeps the
    metric.

    Args:
        folder: OUTPUT_DIR.
        metric: "task/figure", behind "data set/" where there are several; "" for PQ, mIoU or AP of
            masks. More is better.
        patience: so many evaluations without a better figure end training; 0 for never.
    """

    def __init__(self, folder: str, metric: str = "", patience: int = 0):
        self.path = os.path.join(folder, "evaluations.json")
        self.metric, self.patience = metric, patience
        self.values: dict[int, float] = {}
        self._seen = 0  # evaluations

    def before_train(self) -> None:
        in_main_process(self._read)
        self._look()
        if self._is_spent():
            raise StopTraining  # as it did before

    def after_step(self) -> None:
        if self._look() and self._is_spent():
            if comm.is_main_process():
                self.trainer.checkpointer.save("model_final", iteration=self.trainer.iter)
            logger.info(
                "Stopped after iteration %d: %s without gain over that of iteration %d, whose "
                "weights model_best.pth has.",
                self.trainer.iter, counted(self.patience, "evaluation"),
                max(self.values, key=self.values.get, default=0),
            )  # fmt: skip
            raise StopTraining

    def after_train(self) -> None:
        self._look()

    def _read(self) -> None:
        """Take over the metric, and the figures of iterations that are not done again."""
        start = self.trainer.start_iter
        if not start or not os.path.isfile(self.path):
            return
        try:
            saved = json.loads(Path(self.path).read_text("utf-8"))
            metric = saved["metric"]
            values = {int(number): float(value) for number, value in saved["values"].items()}
            if not isinstance(metric, str):
                raise TypeError(f"its metric is {metric!r:.40}")
        except _NO_FIGURES as error:
            raise UserError(
                f"'{self.path}' holds no figures of evaluations ({error}): restore it, or delete "
                "it to look for the best checkpoint anew."
            ) from error
        if self.metric not in ("", metric):
            raise UserError(
                f"SOLVER.BEST_METRIC is '{self.metric}', but the figures in '{self.path}' are of "
                f"'{metric}': resume with that, or delete the file to look for the best anew."
            )
        self.metric = metric
        self.values = {n: x for n, x in values.items() if n < start and math.isfinite(x)}

    def _look(self) -> bool:
        """Record the results of a new evaluation; True if there was one."""
        is_new = self.trainer.evaluations > self._seen
        self._seen = self.trainer.evaluations
        if is_new and comm.is_main_process():
            latest = self.trainer.storage.latest()
            self._record({k: v for k, (v, number) in latest.items() if number == self.trainer.iter})
        return is_new

    def _record(self, figures: dict[str, float]) -> None:
        found = (name for metric in _METRICS for name in figures if name.endswith(metric))
        name = self.metric or next(found, None)
        if name is None:  # no data set has ground truth
            return
        if name not in figures:
            raise UserError(
                f"SOLVER.BEST_METRIC is '{name}': use one of the evaluation's figures, as "
                f"{', '.join(n for n in figures if '/' in n)}."
            )
        if not math.isfinite(figures[name]):
            logger.warning("%s is %s: the evaluation counts for no best one.", name, figures[name])
            return
        iteration = min(self.trainer.iter, self.trainer.max_iter - 1)  # of the weights
        self.values.pop(iteration, None)  # of a run that was killed
        if all(figures[name] > value for value in self.values.values()):
            logger.info("The best %s so far: %.4g.", name, figures[name])
            self.trainer.checkpointer.save_weights("model_best", iteration=iteration)
        self.values[iteration] = figures[name]
        with atomic_write(self.path, "w") as file:
            json.dump({"metric": name, "values": self.values}, file)

    def _is_spent(self) -> bool:
        values = list(self.values.values())
        worse = len(values) - 1 - values.index(max(values)) if values else 0
        return self.patience > 0 and any(comm.all_gather(worse >= self.patience))

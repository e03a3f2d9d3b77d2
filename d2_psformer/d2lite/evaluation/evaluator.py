"""The evaluation loop: evaluators turn model outputs into results."""

import datetime
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn

from ...utils.wording import counted
from ..utils.comm import get_world_size, is_main_process

logger = logging.getLogger(__name__)

Results = dict[str, Any]
_SECONDS_BETWEEN_LOGS = 5


class DatasetEvaluator:
    """Base class: ``reset``, then ``process`` for every batch, then ``evaluate``."""

    def reset(self) -> None:
        """Forget all batches; called before each round."""

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Add one batch: the model's inputs and outputs, image by image."""

    def evaluate(self) -> Results | None:
        """Returns ``{task: {metric: value}}``; None or {} in processes other than the first."""


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one; their tasks must have different names."""

    def __init__(self, evaluators: Sequence[DatasetEvaluator]):
        self._evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> Results:
        results: Results = {}
        for evaluator in self._evaluators:
            found = evaluator.evaluate()
            if is_main_process() and found is not None:
                both = sorted(set(results) & set(found))
                assert not both, f"Two evaluators give results for '{both[0]}'."
                results.update(found)
        return results


def inference_on_dataset(
    model: Callable[[list[dict]], list[dict]],
    data_loader: Iterable[list[dict]],
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
) -> Results:
    """Run a model over a data set, without gradients and in eval mode, and evaluate it.

    Args:
        model: a module, or any function from a batch to its outputs.
        data_loader: has a length.
        evaluator: one, several, or None to only measure the time.

    Returns:
        The results of the evaluators; {} in processes other than the first.
    """
    total = len(data_loader)
    logger.info("Inference on %s.", counted(total, "batch"))
    if evaluator is None or isinstance(evaluator, list):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()

    begin = last_logged = time.perf_counter()
    is_module = isinstance(model, nn.Module)
    was_training = is_module and model.training
    if is_module:
        model.eval()
    with torch.no_grad():
        for done, inputs in enumerate(data_loader, start=1):
            evaluator.process(inputs, model(inputs))
            now = time.perf_counter()
            if now - last_logged >= _SECONDS_BETWEEN_LOGS:
                last_logged, each = now, (now - begin) / done
                eta = datetime.timedelta(seconds=int(each * (total - done)))
                logger.info("Inference done %d/%d, %.3f s a batch, ETA %s", done, total, each, eta)
    if is_module:
        model.train(was_training)
    elapsed = datetime.timedelta(seconds=int(time.perf_counter() - begin))
    logger.info("Inference took %s on %s.", elapsed, counted(get_world_size(), "device"))
    return evaluator.evaluate() or {}

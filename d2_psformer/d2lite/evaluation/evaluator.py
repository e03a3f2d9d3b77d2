"""The evaluation loop: model outputs go to evaluators, which answer with results."""

import datetime
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ..utils.comm import get_world_size, is_main_process
from ..utils.logger import log_every_n_seconds

logger = logging.getLogger(__name__)

Results = dict[str, Any]


class DatasetEvaluator:
    """Base class: ``reset``, then ``process`` for every batch, then ``evaluate``."""

    def reset(self) -> None:
        """Forget everything; called before each round."""

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Take in one batch: the model's inputs and outputs, image by image."""

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
        What the evaluators found; {} in processes other than the first.
    """
    total = len(data_loader)
    logger.info("Inference on %d batches.", total)
    if evaluator is None or isinstance(evaluator, list):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()

    begin = time.perf_counter()
    in_eval_mode = inference_context(model) if isinstance(model, nn.Module) else nullcontext()
    with in_eval_mode, torch.no_grad():
        for done, inputs in enumerate(data_loader, start=1):
            evaluator.process(inputs, model(inputs))
            each = (time.perf_counter() - begin) / done
            eta = datetime.timedelta(seconds=int(each * (total - done)))
            message = f"Inference done {done}/{total}, {each:.3f} s a batch, ETA {eta}"
            log_every_n_seconds(logging.INFO, message, n=5, name=__name__)
    elapsed = datetime.timedelta(seconds=int(time.perf_counter() - begin))
    logger.info("Inference took %s on %d devices.", elapsed, get_world_size())
    return evaluator.evaluate() or {}


@contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Eval mode within the block, whatever mode the model was in after it."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)

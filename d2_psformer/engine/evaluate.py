"""Evaluation on the data sets of DATASETS.TEST."""

import logging

from torch import nn

from ..d2.config import CfgNode
from ..d2.evaluation import inference_on_dataset, print_csv_format, verify_results
from ..d2.utils import comm
from ..data.class_metadata import set_classes
from ..evaluation import build_evaluator
from ..utils.errors import UserError
from .checkpoint_files import check_exists, last_checkpoint
from .checkpointer import AtomicCheckpointer
from .data_loader import Mapper, build_test_loader
from .data_sets import align_data_sets, check_registered
from .distributed import share_buffers
from .loader_worker import naming_dead_workers
from .model import build_model

logger = logging.getLogger(__name__)


@naming_dead_workers()
def test(cfg: CfgNode, model: nn.Module, mapper: Mapper | None = None) -> dict:
    """Run the model over every data set of DATASETS.TEST and log the figures.

    Returns:
        {task: {metric: value}} of the one data set, or {data set: that} of several; empty in
        processes other than the first.
    """
    share_buffers(model)
    results = {}
    for name in cfg.DATASETS.TEST:
        evaluator = build_evaluator(cfg, name)
        found = inference_on_dataset(model, build_test_loader(cfg, name, mapper), evaluator)
        if comm.is_main_process():
            results[name] = found
            if found:  # there are no figures without ground truth
                logger.info("Results on %s:", name)
                print_csv_format(found)
    return next(iter(results.values())) if len(results) == 1 else results


def check_evaluation(cfg: CfgNode) -> None:
    """Check before hours of training that nothing is missing for :func:`test`.

    Raises:
        UserError: a file, a package or a setting is missing.
    """
    for name in cfg.DATASETS.TEST:
        build_evaluator(cfg, name)
    if cfg.TEST.EXPECTED_RESULTS and len(cfg.DATASETS.TEST) > 1:
        raise UserError("TEST.EXPECTED_RESULTS is for one data set, and DATASETS.TEST has several.")


def check_weights(cfg: CfgNode, resume: bool) -> None:
    """
    Raises:
        UserError: there are no weights to evaluate, or no data set to evaluate them on.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name the data sets to evaluate on.")
    for name in cfg.DATASETS.TEST:
        check_registered(name)
    if resume and last_checkpoint(cfg.OUTPUT_DIR):
        return
    if not cfg.MODEL.WEIGHTS:
        raise UserError(
            "There are no weights to evaluate: set MODEL.WEIGHTS to a checkpoint, or give --resume "
            f"for the last one in '{cfg.OUTPUT_DIR}'."
        )
    check_exists(cfg.MODEL.WEIGHTS)


def evaluate(cfg: CfgNode, resume: bool = False) -> dict:
    """Build the model, load MODEL.WEIGHTS (or, with ``resume``, the last checkpoint) and test it.

    Raises:
        UserError: there are no weights, or no data set to evaluate on.
    """
    check_weights(cfg, resume)
    metadata = align_data_sets(cfg, cfg.DATASETS.TEST)
    model = build_model(cfg)
    checkpointer = AtomicCheckpointer(model, cfg.OUTPUT_DIR, metadata=metadata)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    set_classes(cfg.DATASETS.TRAIN[0], checkpointer.metadata)
    align_data_sets(cfg, cfg.DATASETS.TEST)
    results = test(cfg, model)
    verify(cfg, results)
    return results


def verify(cfg: CfgNode, results: dict) -> None:
    """Compare figures with TEST.EXPECTED_RESULTS, in the first process.

    Raises:
        UserError: there are none of such a task.
        SystemExit: a figure differs; the status is 1.
    """
    if not comm.is_main_process():
        return
    for task, *_ in cfg.TEST.EXPECTED_RESULTS:
        if task not in results:
            raise UserError(
                f"TEST.EXPECTED_RESULTS has figures of '{task}', but the results have "
                f"{', '.join(results) or 'none'}: correct the name."
            )
    verify_results(cfg, results)

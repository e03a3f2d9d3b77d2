"""The batch and the schedule of a config, scaled to the number of processes."""

import logging

from ..d2.config import CfgNode
from ..utils.errors import UserError
from ..utils.wording import counted

logger = logging.getLogger(__name__)


def scale_to_processes(cfg: CfgNode, processes: int) -> CfgNode:
    """Scale a config that is meant for SOLVER.REFERENCE_WORLD_SIZE processes, 0 for any number.

    As in Detectron2 every process keeps its number of images; the learning rate grows with the
    batch (Goyal et al., arXiv 1706.02677), and the numbers of iterations shrink by as much.

    Returns:
        The config itself if nothing is to be scaled, else another one, for ``processes``.

    Raises:
        UserError: IMS_PER_BATCH is not a multiple of the reference.
    """
    solver, reference = cfg.SOLVER, cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference in (0, processes):
        return cfg
    if reference < 0 or solver.IMS_PER_BATCH % reference:
        raise UserError(
            f"SOLVER.REFERENCE_WORLD_SIZE is {reference}: SOLVER.IMS_PER_BATCH "
            f"({solver.IMS_PER_BATCH}) must be a multiple of it."
        )
    scaled, factor = cfg.clone(), processes / reference
    scaled.defrost()
    node = scaled.SOLVER
    node.IMS_PER_BATCH = round(solver.IMS_PER_BATCH * factor)
    node.BASE_LR = solver.BASE_LR * factor
    node.MAX_ITER = max(1, round(solver.MAX_ITER / factor))
    node.WARMUP_ITERS = round(solver.WARMUP_ITERS / factor)
    node.BACKBONE_WARMUP_ITERS = round(solver.BACKBONE_WARMUP_ITERS / factor)
    scaled.MODEL.EOMT.MASK_ANNEALING = [
        [round(iteration / factor) for iteration in bounds]
        for bounds in cfg.MODEL.EOMT.MASK_ANNEALING
    ]
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR":  # no other one reads them
        node.STEPS = tuple(round(step / factor) for step in solver.STEPS)
    node.CHECKPOINT_PERIOD = max(1, round(solver.CHECKPOINT_PERIOD / factor))
    if cfg.TEST.EVAL_PERIOD:
        scaled.TEST.EVAL_PERIOD = max(1, round(cfg.TEST.EVAL_PERIOD / factor))
    node.REFERENCE_WORLD_SIZE = processes
    if cfg.is_frozen():
        scaled.freeze()
    logger.info(
        "Scaled from %d to %s: batch %d, learning rate %g, %s, warm-up %d.",
        reference, counted(processes, "process"), node.IMS_PER_BATCH, node.BASE_LR,
        counted(node.MAX_ITER, "iteration"), node.WARMUP_ITERS,
    )  # fmt: skip
    return scaled

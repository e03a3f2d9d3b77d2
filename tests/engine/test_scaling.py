"""SOLVER.REFERENCE_WORLD_SIZE means what it means in Detectron2."""

import pytest
from dummy_processes import needs_detectron2
from dummy_training import dummy_cfg

from d2_psformer.d2 import BACKEND
from d2_psformer.engine.scaling import scale_to_processes
from d2_psformer.utils.errors import UserError

OPTIONS = ("SOLVER.IMS_PER_BATCH", 16, "SOLVER.MAX_ITER", 5000, "SOLVER.STEPS", (4000, 4501))
OPTIONS = (*OPTIONS, "SOLVER.CHECKPOINT_PERIOD", 333, "TEST.EVAL_PERIOD", 77)


@needs_detectron2
@pytest.mark.skipif(BACKEND != "detectron2", reason="configs are of the other backend")
@pytest.mark.parametrize("processes", [1, 2, 3, 8, 16])
def test_as_detectron2(tmp_path, processes):
    from detectron2.engine import DefaultTrainer

    cfg = dummy_cfg(tmp_path, *OPTIONS, "SOLVER.REFERENCE_WORLD_SIZE", 8)
    cfg.freeze()
    scaled = scale_to_processes(cfg, processes)
    assert scaled == DefaultTrainer.auto_scale_workers(cfg, processes)
    assert scaled.is_frozen()


def test_on_a_quarter_of_the_processes(tmp_path):
    cfg = dummy_cfg(tmp_path, *OPTIONS, "SOLVER.REFERENCE_WORLD_SIZE", 8)
    scaled = scale_to_processes(cfg, 2)
    solver = scaled.SOLVER
    assert (solver.IMS_PER_BATCH, solver.MAX_ITER, solver.WARMUP_ITERS) == (4, 20000, 12)
    assert (solver.STEPS, solver.CHECKPOINT_PERIOD) == ((16000, 18004), 1332)
    assert (scaled.TEST.EVAL_PERIOD, solver.BASE_LR) == (308, 0.0025)
    assert scale_to_processes(scaled, 2) is scaled
    assert cfg.SOLVER.IMS_PER_BATCH == 16


def test_the_iterations_of_eomt(tmp_path):
    cfg = dummy_cfg(tmp_path, *OPTIONS, "SOLVER.REFERENCE_WORLD_SIZE", 8)
    cfg.SOLVER.BACKBONE_WARMUP_ITERS, cfg.MODEL.EOMT.MASK_ANNEALING = 6, [[10, 20], [20, 31]]
    scaled = scale_to_processes(cfg, 16)
    assert scaled.SOLVER.BACKBONE_WARMUP_ITERS == 3
    assert scaled.MODEL.EOMT.MASK_ANNEALING == [[5, 10], [10, 16]]


def test_steps_that_the_schedule_does_not_read(tmp_path):
    cfg = dummy_cfg(tmp_path, *OPTIONS, "SOLVER.REFERENCE_WORLD_SIZE", 8)
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    assert scale_to_processes(cfg, 2).SOLVER.STEPS == (4000, 4501)


def test_off_by_default(tmp_path):
    cfg = dummy_cfg(tmp_path)
    assert scale_to_processes(cfg, 3) is cfg


def test_a_batch_that_is_no_multiple(tmp_path):
    with pytest.raises(UserError, match=r"REFERENCE_WORLD_SIZE is 3: .*IMS_PER_BATCH \(16\)"):
        scale_to_processes(dummy_cfg(tmp_path, *OPTIONS, "SOLVER.REFERENCE_WORLD_SIZE", 3), 1)

"""d2lite's logging and storages beyond the contract."""

import logging

import pytest
import torch

from d2_psformer.d2lite.config import get_cfg
from d2_psformer.d2lite.errors import UserError
from d2_psformer.d2lite.solver import build_lr_scheduler
from d2_psformer.d2lite.structures import Instances
from d2_psformer.d2lite.utils import events, logger


def test_own_logger_is_named_after_the_package(capsys):
    own = logger.setup_logger(color=False)
    assert own.name == "d2_psformer.d2lite"
    logging.getLogger("d2_psformer.d2lite.utils.x").info("inside")
    assert "d2_psformer.d2lite.utils.x INFO: inside" in capsys.readouterr().out
    own.handlers.clear()
    own.propagate = True
    logger.setup_logger.cache_clear()


def test_colourful_line_abbreviates_without_touching_the_record():
    formatter = logger._ColorfulFormatter("some.root", "s")
    record = logging.LogRecord("some.root.part", logging.ERROR, "f", 1, "text %d", (3,), None)
    line = formatter.format(record)
    assert "s.part" in line
    assert "ERROR" in line
    assert line.endswith("text 3")
    assert record.name == "some.root.part"


def test_has_event_storage():
    assert not events.has_event_storage()
    with events.EventStorage():
        assert events.has_event_storage()
    assert not events.has_event_storage()


def test_storage_is_left_after_an_error():
    storage = events.EventStorage()
    with pytest.raises(RuntimeError, match="stop"), storage:
        raise RuntimeError("stop")
    assert not events.has_event_storage()


def test_cosine_end_above_the_start_is_named():
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    cfg.SOLVER.BASE_LR_END = 2 * cfg.SOLVER.BASE_LR
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(UserError, match=r"SOLVER\.BASE_LR_END"):
        build_lr_scheduler(cfg, optimizer)


def test_empty_instances_can_be_shown():
    assert "num_instances=0" in repr(Instances((3, 4)))

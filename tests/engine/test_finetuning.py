"""SOLVER.FINETUNE: weights of other classes."""

import logging
import re

import pytest
import torch
from dummy_training import dummy_cfg, register_dummy
from torch import nn

from d2_psformer.engine import AtomicCheckpointer, Trainer, class_metadata
from d2_psformer.utils.errors import UserError

register_dummy("dummy_train")
METADATA = class_metadata("dummy_train")


def model_of(seed: int, width: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def checkpointer_of(model: nn.Module, folder="", **options) -> AtomicCheckpointer:
    return AtomicCheckpointer(model, str(folder), metadata=METADATA, **options)


def test_finetuning_loads_what_fits(tmp_path):
    source, model = model_of(0, width=4), model_of(1)
    source[1].bias.data.fill_(5)
    checkpointer_of(source, tmp_path).save("a")
    checkpointer_of(model, finetune=True).load(str(tmp_path / "a.pth"))
    assert model[1].bias.item() == 5
    assert torch.equal(model[0].weight, model_of(1)[0].weight)


def test_finetuning_without_anything_that_fits(tmp_path):
    torch.save({"model": {"other.weight": torch.ones(1)}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"Nothing of checkpoint .*a\.pth"):
        checkpointer_of(model_of(0), finetune=True).load(str(tmp_path / "a.pth"))


class Named(nn.Module):
    """A classifier of the data set's classes."""

    def __init__(self, count: int):
        super().__init__()
        self.body, self.head = nn.Linear(1, 1), nn.Linear(1, count)

    def class_rows(self, classes):
        return {"head": range(classes.num_classes)}


@pytest.fixture
def table():
    """What the checkpointer logs, whatever other tests did to the loggers."""
    lines, logger = [], logging.getLogger("fvcore.common.checkpoint")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: "\n".join(lines)
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("with_classes", [True, False])
def test_finetuning_on_other_classes(tmp_path, table, with_classes):
    """Weights without names of classes that have COCO's number of them are taken for COCO's."""
    metadata = class_metadata("coco_2017_val_panoptic") if with_classes else None
    source = Named(133)
    torch.save({"model": source.state_dict(), "metadata": metadata}, tmp_path / "a.pth")
    ours = {"name": "mine", "thing_classes": ["zebra", "unicorn"], "stuff_classes": []}
    model = Named(2)
    anew = model.head.bias[1].item()
    AtomicCheckpointer(model, metadata=ours, finetune=True).load(str(tmp_path / "a.pth"))
    zebra = metadata["thing_classes"].index("zebra") if metadata else 22
    assert model.head.bias[0] == source.head.bias[zebra]
    assert model.head.bias[1] == anew
    assert model.body.weight == source.body.weight
    assert "zebra" in table() and "unicorn" in table()
    warning = "WARNING .*as many as COCO has: they are taken for these.*convert-weights .*--config"
    assert bool(re.search(warning, table())) is not with_classes


def test_finetuning_needs_weights(tmp_path):
    trainer = Trainer(dummy_cfg(tmp_path, "SOLVER.FINETUNE", True))
    with pytest.raises(UserError, match=r"MODEL\.WEIGHTS"):
        trainer.resume_or_load(resume=False)

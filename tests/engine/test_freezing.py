"""SOLVER.FREEZE: parameters by name, and the statistics of their batch norms."""

import pytest
import torch
from dummy_training import RecordingTrainer, dummy_cfg
from small_models import VARIANTS, small_model
from torch import nn

from d2_psformer.engine.freezing import freeze
from d2_psformer.utils.errors import UserError


def test_frozen_parts_stay_as_they_are(tmp_path):
    trainer = RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.FREEZE", ["backbone", "norm.bias"]))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    frozen = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert frozen == {"backbone.weight", "backbone.bias", "norm.bias"}


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_batch_norms_keep_their_statistics(norm):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 1), norm(4))
    body[1].running_mean.uniform_()
    model = nn.ModuleDict(
        {"body": body, "head": nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))}
    )
    expected = nn.BatchNorm2d(4).eval()
    expected.load_state_dict(body[1].state_dict())
    freeze(model, ["body"])
    model.train()
    images = torch.randn(2, 3, 5, 5)
    outputs = model["body"](images)
    torch.testing.assert_close(outputs, expected(body[0](images)))
    model["head"](outputs)
    assert body[1].num_batches_tracked == 0
    assert model["head"][1].num_batches_tracked == 1
    assert all(p.requires_grad == name.startswith("head") for name, p in model.named_parameters())


def test_the_patches_of_a_plain_vit():
    model = small_model(**VARIANTS["eomt"])
    freeze(model, ["backbone.vit.patch_embed"])
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"backbone.vit.patch_embed.proj.{kind}" for kind in ("weight", "bias")}


def test_a_name_that_nothing_has(tmp_path):
    with pytest.raises(UserError, match=r"SOLVER\.FREEZE has 'backbon\.'.*use .* backbone"):
        RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.FREEZE", ["backbon."]))

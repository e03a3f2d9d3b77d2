"""A checkpoint of a training has its config, which rebuilds the model."""

import shutil

import pytest
import torch
import yaml
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine import load_config
from d2_psformer.utils.errors import UserError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer = RecordingTrainer(dummy_cfg(folder, "SOLVER.MAX_ITER", 1))
    trainer.train()
    return trainer.cfg, folder / "model_final.pth"


def test_the_trainer_stores_it_in_the_checkpoint(trained, tmp_path):
    cfg, checkpoint = trained
    alone = str(shutil.copy(checkpoint, tmp_path))
    found = load_config(alone)
    assert alone == found.MODEL.WEIGHTS
    found.MODEL.WEIGHTS = cfg.MODEL.WEIGHTS
    assert yaml.safe_load(found.dump()) == yaml.safe_load(cfg.dump())


def strip(checkpoint, folder):
    """Write the checkpoint without its config to ``folder``."""
    content = torch.load(checkpoint, weights_only=True)
    del content["config"]
    torch.save(content, folder / "model.pth")
    return folder / "model.pth"


def test_a_file_beside_the_checkpoint_serves_too(trained, tmp_path):
    cfg, checkpoint = trained
    bare = strip(checkpoint, tmp_path)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    assert load_config(str(bare)).SOLVER == cfg.SOLVER


def test_without_one_both_ways_out_are_named(trained, tmp_path):
    bare = strip(trained[1], tmp_path)
    with pytest.raises(UserError, match=r"model\.pth' holds no config.*config\.yaml.*weights"):
        load_config(str(bare))


@pytest.mark.parametrize("text", ["MODEL: [", "- a list", "NO_SUCH_KEY: 1", "MODEL: 3"])
def test_a_damaged_one_is_refused(trained, tmp_path, text):
    content = torch.load(trained[1], weights_only=True)
    torch.save({**content, "config": text}, tmp_path / "model.pth")
    with pytest.raises(UserError, match=r"model\.pth"):
        load_config(str(tmp_path / "model.pth"))

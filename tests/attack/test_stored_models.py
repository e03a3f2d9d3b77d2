"""Checkpoints with wrong weights, classes, configs and states: loaded, and resumed from."""

import random

import pytest
import torch
from attack_cases import cases
from attack_values import changed, forget, one_sentence
from dummy_training import RecordingTrainer, dummy_cfg, register_dummy
from hypothesis import given
from hypothesis import strategies as st
from test_checkpoints import TENSORS
from tiny_model import TOYS, write_tiny_model

import d2_psformer
from d2_psformer.checkpoint import read_checkpoint


class Content(dict):
    """What a checkpoint holds."""

    def __repr__(self):
        return "a checkpoint"  # hypothesis shows it


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config, checkpoint = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    return Content({**read_checkpoint(str(checkpoint)), "config": config.read_text()})


@given(st.integers(0, 2**40))
@cases(4)
def test_models_with_wrong_entries(tmp_path, tiny, seed):
    """The weights, the classes and the config of a model, of which a few values are wrong."""
    chance, content = random.Random(seed), {**tiny, "model": dict(tiny["model"])}
    what = chance.choice(("model", "metadata", "config", "metadata"))
    if what == "metadata":
        content["metadata"] = changed(content["metadata"], seed)[0]
    elif what == "model":
        name = chance.choice(list(content["model"]))
        content["model"][chance.choice((name, name, name, 7, ""))] = chance.choice(TENSORS[:17])
    else:
        lines = content["config"].splitlines()
        wrong = (
            "",
            "A: [",
            "  B: 1",
            "MODEL: 3",
            "? [1, {2: 3}]",
            "A: " + "[" * 9999,
            "A: 2001-99-99",
        )
        lines[chance.randrange(len(lines))] = chance.choice(wrong)
        content["config"] = "\n".join(lines)
    path = tmp_path / "model.pth"
    torch.save(content, path)
    keys = ("MODEL.", "INPUT.", "DATASETS.") if what == "config" else ()
    try:
        with one_sentence(path, *keys):
            d2_psformer.load(path, device="cpu")
    finally:
        forget(TOYS["name"])


@pytest.fixture(scope="module")
def resumable(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resumable")
    register_dummy("dummy_train")
    trainer = RecordingTrainer(dummy_cfg(folder, "SOLVER.MAX_ITER", 2, "TRACKERS", ()))
    trainer.resume_or_load(resume=False)
    trainer.train()
    return folder, Content(torch.load(folder / "model_final.pth", weights_only=True))


@given(st.integers(0, 2**40))
@cases(20)
def test_resuming_from_wrong_states(resumable, seed):
    folder, content = resumable
    content = {**content, "trainer": changed(content["trainer"], seed)[0]}
    torch.save(content, folder / "model_final.pth")
    trainer = RecordingTrainer(dummy_cfg(folder, "TRACKERS", ()))
    with one_sentence(folder / "model_final.pth"):
        trainer.resume_or_load(resume=True)

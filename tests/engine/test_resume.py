"""A run that was killed and resumed equals one that was not, bit by bit."""

import json
import random
import shutil

import pytest
import torch
from dummy_processes import assert_equal_weights, run_script_and_kill, weights_of
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.utils.errors import UserError


def train(folder, *opts, resume: bool = False) -> list[float]:
    trainer = RecordingTrainer(dummy_cfg(folder, *opts))
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer.losses


def metrics(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return folder, train(folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed(tmp_path, uninterrupted, workers):
    folder, losses = uninterrupted
    moment = random.uniform(0, 1)
    option = ("DATALOADER.NUM_WORKERS", str(workers))
    before = run_script_and_kill(tmp_path, *option, after=moment)
    assert 0 < len(before) < len(losses), f"after {moment} s it was not in the middle"
    assert list(before.values()) == losses[: len(before)]
    after = train(tmp_path, resume=True)
    done = len(losses) - len(after)
    assert done % 5 == 0, f"killed after {moment} s: resumed at {done}, not at a checkpoint"
    assert done <= len(before)
    assert after == losses[done:]
    assert_equal_weights(weights_of(tmp_path), weights_of(folder))


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tmp_path, uninterrupted, workers):
    folder, losses = uninterrupted
    assert train(tmp_path, "DATALOADER.NUM_WORKERS", workers) == losses
    assert_equal_weights(weights_of(tmp_path), weights_of(folder))


def test_resume_with_a_gradient_scaler(tmp_path):
    options = ("SOLVER.AMP.DTYPE", "float16", "SOLVER.MAX_ITER", 8, "SOLVER.STEPS", (6,))
    train(tmp_path / "whole", *options)
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000004.pth")
    train(tmp_path / "again", *options, resume=True)
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "again"))
    saved = torch.load(tmp_path / "again" / "model_final.pth", weights_only=True)
    assert saved["trainer"]["grad_scaler"]["scale"] > 1


def test_resume_in_the_second_warm_up(tmp_path):
    """The backbone's rates of the rest are the same, bit by bit."""
    options = ("SOLVER.LR_SCHEDULER_NAME", "TwoStageWarmupPolyLR", "SOLVER.ACCUMULATION_STEPS", 2)
    options += ("SOLVER.BACKBONE_WARMUP_ITERS", 4, "SOLVER.MAX_ITER", 12)
    losses = train(tmp_path / "whole", *options)
    rates = [line["lr"] for line in metrics(tmp_path / "whole")]
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000004.pth")
    assert train(tmp_path / "again", *options, resume=True) == losses[5:]
    assert [line["lr"] for line in metrics(tmp_path / "again")] == rates
    assert_equal_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "again"))


def test_resume_of_a_finished_run_trains_no_more(tmp_path, uninterrupted):
    folder, _ = uninterrupted
    shutil.copytree(folder, tmp_path / "again")
    assert train(tmp_path / "again", resume=True) == []


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(tmp_path):
    options = ("SEED", -1, "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", (6,))
    losses = train(tmp_path, *options)
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    assert train(tmp_path, *options, resume=True) == losses[5:]


def test_another_seed_gives_other_losses(tmp_path, uninterrupted):
    _, losses = uninterrupted
    assert train(tmp_path, "SEED", 8, "SOLVER.MAX_ITER", 5, "SOLVER.STEPS", ())[0] != losses[0]


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (("SOLVER.BASE_LR", 0.02), ["SOLVER.BASE_LR", "'initial_lr' is 0.001, not 0.002"]),
        (("SOLVER.WEIGHT_DECAY", 0.3), ["SOLVER.WEIGHT_DECAY", "is 0.0001, not 0.3"]),
        (("SOLVER.LR_MULTIPLIERS", [["backbone", 0.3]]), ["LR_MULTIPLIERS", "is 0.001, not 0.003"]),
    ],
)
def test_settings_that_the_checkpoint_decides_are_named(tmp_path, uninterrupted, opts, words, said):
    folder, losses = uninterrupted
    shutil.copytree(folder, tmp_path / "again")
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000014.pth")
    assert train(tmp_path / "again", *opts, resume=True) == losses[15:]
    (line,) = (line for line in said if "as given here" in line)
    assert all(word in line for word in [*words, "model_0000014.pth", "MODEL.WEIGHTS"]), line


def test_settings_of_the_beginning_are_named(tmp_path, uninterrupted, said):
    folder, losses = uninterrupted
    shutil.copytree(folder, tmp_path / "again")
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000014.pth")
    opts = ("MODEL.WEIGHTS", "nowhere.pth", "SOLVER.FINETUNE", True, "SEED", -1)
    assert train(tmp_path / "again", *opts, resume=True) == losses[15:]
    lines = [line for line in said if "as given here: it counts at the beginning" in line]
    source = f"checkpoint '{tmp_path / 'again' / 'model_0000014.pth'}'"
    assert [line.partition(" as given")[0] for line in lines] == [
        f"MODEL.WEIGHTS is '' as in {source}, not 'nowhere.pth'",
        f"SOLVER.FINETUNE is False as in {source}, not True",
        f"SEED is 7 as in {source}, not -1",
    ]


def test_weights_alone_begin_with_the_settings_given_here(tmp_path, uninterrupted, said):
    folder, losses = uninterrupted
    content = torch.load(folder / "model_0000014.pth", weights_only=True)
    content.pop("trainer")
    torch.save(content, tmp_path / "model_0000014.pth")
    assert len(train(tmp_path, "SEED", -1, resume=True)) == len(losses)
    assert not [line for line in said if "as given here" in line]


def test_another_rate_where_the_last_one_is_a_share_of_it(tmp_path):
    opts = ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.BASE_LR_END", 1e-4)
    train(tmp_path, *opts)
    (tmp_path / "last_checkpoint").write_text("model_0000014.pth")
    assert len(train(tmp_path, *opts, resume=True)) == 5
    (tmp_path / "last_checkpoint").write_text("model_0000014.pth")
    with pytest.raises(UserError, match=r"BASE_LR is 0\.02 and 0\.01 in checkpoint .*BASE_LR_END"):
        train(tmp_path, *opts, "SOLVER.BASE_LR", 0.02, resume=True)


def test_the_same_settings_are_not_named(tmp_path, uninterrupted, said):
    folder, _ = uninterrupted
    shutil.copytree(folder, tmp_path / "again")
    train(tmp_path / "again", resume=True)
    assert not [line for line in said if "as given here" in line]


def test_another_optimizer_is_refused(tmp_path, uninterrupted):
    folder, _ = uninterrupted
    shutil.copytree(folder, tmp_path / "again")
    with pytest.raises(UserError, match="it is not of SGD"):
        train(tmp_path / "again", "SOLVER.OPTIMIZER", "SGD", resume=True)

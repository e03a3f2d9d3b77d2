"""Resuming where the last checkpoint is cut, changed or lost, and writing to a full disk."""

import os
import random
import shutil
import subprocess
import sys

import pytest
import torch
from dummy_processes import (
    HERE,
    assert_equal_weights,
    script_environment,
    weights_of,
    with_files_up_to,
)
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.engine import last_checkpoint
from d2_psformer.utils.errors import UserError


def train(folder, resume: bool = False) -> RecordingTrainer:
    trainer = RecordingTrainer(dummy_cfg(folder))
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    train(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """The folder of a training of 20 iterations that was killed after the 15th."""
    for name in ("model_0000004.pth", "model_0000009.pth", "model_0000014.pth", "metrics.json"):
        shutil.copy2(finished / name, tmp_path / name)
    (tmp_path / "last_checkpoint").write_text("model_0000014.pth")
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    start = content.find(weights_of(path.parent, path.name)["backbone.weight"].numpy().tobytes())
    content[start + 5] ^= 1
    path.write_bytes(content)


def copy_in_another_order(path):
    """Copies have other times of change, the newest the last number."""
    path.unlink()
    os.utime(path.parent / "model_0000009.pth", (1, 1))


def end_an_earlier_run(path):
    """``model_final.pth`` is of iteration 4: SOLVER.MAX_ITER was raised after it."""
    path.unlink()
    shutil.copy(path.parent / "model_0000004.pth", path.parent / "model_final.pth")


def forget_the_last(path):
    path.unlink()
    (path.parent / "last_checkpoint").write_text("")


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip_a_bit,
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        copy_in_another_order,
        end_an_earlier_run,
        forget_the_last,
    ],
)
def test_the_newest_whole_checkpoint_is_used(folder, finished, damage, said):
    damage(folder / "model_0000014.pth")
    assert len(train(folder, resume=True).losses) == 10
    (line,) = (line for line in said if "the newest whole one" in line)
    assert f"Going on from '{folder / 'model_0000009.pth'}'" in line
    assert_equal_weights(weights_of(folder), weights_of(finished))


@pytest.mark.parametrize(
    "name",
    [None, b"", b"\xff\xfe", b"x" * 5000, b"a\0b", b"https://a.b/c.pth", b"../a/model_9.pth"],
)
def test_last_checkpoint_names_nothing(folder, finished, name, said):
    (folder / "last_checkpoint").unlink()
    if name is not None:
        (folder / "last_checkpoint").write_bytes(name)
    assert len(train(folder, resume=True).losses) == 5
    assert [line for line in said if "model_0000014.pth', the newest whole one" in line]
    assert_equal_weights(weights_of(folder), weights_of(finished))


@pytest.mark.parametrize("last", ["model_0000014.pth", None])
def test_the_sentence_names_what_is_damaged(folder, last):
    for path in folder.glob("*.pth"):
        cut(path)
    (folder / "last_checkpoint").unlink()
    if last:
        (folder / "last_checkpoint").write_text(last)
    with pytest.raises(UserError, match=r"model_0000014\.pth' cannot be read: it is damaged"):
        train(folder, resume=True)


def test_the_last_one_for_use(folder):
    """A lost one is not named, as there is another one."""
    cut(folder / "model_0000014.pth")
    assert last_checkpoint(str(folder)) == str(folder / "model_0000014.pth")
    (folder / "model_0000014.pth").unlink()
    assert last_checkpoint(str(folder)) == str(folder / "model_0000009.pth")
    for path in folder.glob("*.pth"):
        path.rename(folder / "model_coco.pth")
    assert last_checkpoint(str(folder)) == str(folder / "model_0000014.pth")
    (folder / "last_checkpoint").unlink()
    assert last_checkpoint(str(folder)) == ""


def test_last_checkpoint_is_a_folder(folder):
    (folder / "last_checkpoint").unlink()
    (folder / "last_checkpoint").mkdir()
    assert last_checkpoint(str(folder)) == str(folder / "model_0000014.pth")


def test_a_valid_last_checkpoint_counts_although_there_is_a_newer_one(folder):
    (folder / "last_checkpoint").write_text("model_0000004.pth")
    assert len(train(folder, resume=True).losses) == 15


def test_the_best_weights_are_not_resumed_from(folder):
    for path in folder.glob("model_*.pth"):
        path.rename(folder / "model_best.pth")
    with pytest.raises(UserError, match=r"model_0000014\.pth' does not exist"):
        train(folder, resume=True)


def test_resuming_from_weights_alone_is_said(folder, said):
    path = folder / "model_0000014.pth"
    torch.save({"model": weights_of(folder, path.name)}, path)
    assert len(train(folder, resume=True).losses) == 20
    (line,) = (line for line in said if "weights alone" in line)
    assert f"'{path}' holds weights alone: training begins at iteration 0" in line


@pytest.mark.parametrize(
    ("key", "value"), [("iteration", "x"), ("iteration", -2), ("hooks", [1]), ("history", {"a": 3})]
)
def test_a_state_that_is_none(folder, key, value):
    path = folder / "model_0000014.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "trainer": {**content["trainer"], key: value}}, path)
    with pytest.raises(UserError, match=r"state of the training in .*0014\.pth' cannot be taken"):
        train(folder, resume=True)


def test_flipped_bits_are_found(finished, tmp_path):
    """A flip is refused, or in bytes that hold nothing: the same comes out."""
    path, whole = tmp_path / "a.pth", (finished / "model_final.pth").read_bytes()
    expected = weights_of(finished)
    for _ in range(40):
        changed = bytearray(whole)
        changed[random.randrange(len(whole))] ^= 1 << random.randrange(8)
        path.write_bytes(changed)
        try:
            found = read_checkpoint(str(path))["model"]
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert_equal_weights(found, expected)


def test_a_full_disk(folder):
    """A limit for files stands for it: the system refuses to write on."""
    size = (folder / "model_0000014.pth").stat().st_size
    script = str(HERE / "dummy_training.py")
    command = [sys.executable, *with_files_up_to(size // 2), script]
    before = (folder / "model_0000014.pth").read_bytes()
    done = subprocess.run(
        [*command, "--resume", str(folder), "TRACKERS", "()"],
        env=script_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "inline_container" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith(f"'{folder / 'model_0000019.pth'}'"), done.stderr
    assert (folder / "last_checkpoint").read_text() == "model_0000014.pth"
    assert (folder / "model_0000014.pth").read_bytes() == before
    assert not list(folder.glob(".*.tmp*"))

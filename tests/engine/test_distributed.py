"""Two processes on the CPU train like one with the same images."""

import pytest
import torch
from dummy_processes import run_script, weights_of
from dummy_training import RecordingTrainer, dummy_cfg

# Without dropout, whose masks differ from process to process.
OPTIONS = ("MODEL.PIXEL_DECODER.DROPOUT", "0.0", "SOLVER.MAX_ITER", "6", "SOLVER.STEPS", "(4,)")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    trainer = RecordingTrainer(dummy_cfg(folder, *OPTIONS))
    trainer.train()
    return trainer.losses, weights_of(folder)


def test_launch_with_accumulation(tmp_path, alone):
    options = (*OPTIONS, "SOLVER.ACCUMULATION_STEPS", "2")
    assert_like(alone, run_script(tmp_path, *options, flags=["--num-gpus", "2"]), tmp_path)


def test_torchrun(tmp_path, alone):
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    assert_like(alone, run_script(tmp_path, *OPTIONS, launcher=launcher), tmp_path)


def assert_like(alone, losses: dict[int, float], folder) -> None:
    expected_losses, expected_weights = alone
    assert list(losses.values()) == pytest.approx(expected_losses, rel=1e-4)
    for name, value in weights_of(folder).items():
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-4, atol=1e-6)

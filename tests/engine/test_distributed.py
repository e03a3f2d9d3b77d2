"""Two processes on the CPU train like one with the same images."""

import socket
from concurrent.futures import ThreadPoolExecutor

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


@pytest.mark.slow
def test_launch_with_accumulation(tmp_path, alone):
    options = (*OPTIONS, "SOLVER.ACCUMULATION_STEPS", "2")
    assert_like(alone, run_script(tmp_path, *options, flags=["--num-gpus", "2"]), tmp_path)


def test_torchrun(tmp_path, alone):
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    assert_like(alone, run_script(tmp_path, *OPTIONS, launcher=launcher), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["launch", "torchrun"])
def test_two_machines(tmp_path, alone, launcher):
    """One process each, with folders of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"

    def run_machine(rank: int) -> dict[int, float]:
        if launcher == "launch":
            url = f"tcp://{address}"
            flags = ["--num-machines", "2", "--machine-rank", str(rank), "--dist-url", url]
            return run_script(tmp_path / str(rank), *OPTIONS, flags=flags)
        nodes = ["--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", "1"]
        host, port = address.split(":")
        nodes += ["--master-addr", host, "--master-port", port]
        launcher_of_node = ("-m", "torch.distributed.run", *nodes)
        return run_script(tmp_path / str(rank), *OPTIONS, launcher=launcher_of_node)

    with ThreadPoolExecutor(2) as machines:
        losses, nothing = machines.map(run_machine, range(2))
    assert nothing == {}
    assert_like(alone, losses, tmp_path / "0")
    assert not list((tmp_path / "1").glob("*.pth"))


def assert_like(alone, losses: dict[int, float], folder) -> None:
    expected_losses, expected_weights = alone
    assert list(losses.values()) == pytest.approx(expected_losses, rel=1e-4)
    for name, value in weights_of(folder).items():
        torch.testing.assert_close(value, expected_weights[name], rtol=1e-4, atol=1e-6)

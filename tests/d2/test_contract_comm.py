"""Communication of one and of two processes, seeds and files, the same on both backends."""

import random

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from d2_psformer.d2.utils import collect_env_info, comm, seed_all_rng
from d2_psformer.d2.utils import setup_logger as set_up_logger


def test_one_process_is_alone():
    assert (comm.get_world_size(), comm.get_rank()) == (1, 0)
    assert comm.get_local_rank() == 0
    assert comm.is_main_process()
    assert comm.all_gather({"a": 1}) == [{"a": 1}]
    assert comm.gather("x") == ["x"]
    assert 0 <= comm.shared_random_seed() < 2**31
    comm.synchronize()


def _work(rank, store, folder):
    """What process ``rank`` of two sees; the parent looks at the file."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    comm.create_local_process_group(2)
    np.random.seed(rank)
    seen = {
        "ranks": (comm.get_rank(), comm.get_world_size(), comm.is_main_process()),
        "local": comm.get_local_rank(),
        "all_gather": comm.all_gather({"rank": rank, "data": list(range(rank))}),
        "gather": comm.gather(f"from {rank}", dst=1),
        "seed": comm.shared_random_seed(),
    }
    comm.synchronize()
    torch.save(seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comm")
    mp.spawn(_work, args=(folder / "store", folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_two_processes_know_their_place(two_processes):
    first, second = two_processes
    assert (first["ranks"], second["ranks"]) == ((0, 2, True), (1, 2, False))
    assert (first["local"], second["local"]) == (0, 1)


def test_two_processes_gather(two_processes):
    first, second = two_processes
    expected = [{"rank": 0, "data": []}, {"rank": 1, "data": [0]}]
    assert first["all_gather"] == second["all_gather"] == expected
    assert first["gather"] == []
    assert second["gather"] == ["from 0", "from 1"]
    assert first["seed"] == second["seed"]


def test_seeds_cover_all_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_all_rng(3)
    first = draw()
    seed_all_rng(3)
    assert draw() == first
    # the generators behind it, seeded by hand
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    assert draw() == first
    seed_all_rng()
    assert draw() != first


def test_environment_names_the_packages():
    text = collect_env_info()
    for name in ("Python", "numpy", torch.__version__, "fvcore"):
        assert name in text


def test_logger_writes_to_terminal_and_file(tmp_path, capsys):
    logger = set_up_logger(str(tmp_path), name="contract.one", abbrev_name="c")
    assert set_up_logger(str(tmp_path), name="contract.one", abbrev_name="c") is logger
    logger.getChild("module").info("hello")
    logger.warning("careful")
    terminal = capsys.readouterr().out
    assert terminal.count("hello") == 1
    assert "c.module" in terminal
    assert "WARNING" in terminal
    for handler in logger.handlers:
        handler.flush()
    text = (tmp_path / "log.txt").read_text()
    assert text.count("hello") == 1
    assert "module INFO" in text


def test_logger_of_other_processes_writes_to_its_own_file(tmp_path, capsys):
    logger = set_up_logger(str(tmp_path / "my.log"), 2, name="contract.two")
    logger.info("from two")
    for handler in logger.handlers:
        handler.flush()
    assert capsys.readouterr().out == ""
    assert "from two" in (tmp_path / "my.log.rank2").read_text()

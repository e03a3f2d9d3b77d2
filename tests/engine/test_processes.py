"""Starting processes: what is refused before any starts, and machines that do not meet."""

import argparse
import socket

import pytest
import torch

from d2_psformer.engine import run
from d2_psformer.utils.errors import UserError


@pytest.fixture(autouse=True)
def outside_of_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)


def options(**given) -> argparse.Namespace:
    defaults = {"num_gpus": 1, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    return argparse.Namespace(**defaults | given)


def test_one_process_is_this_one(monkeypatch):
    monkeypatch.setenv("RANK", "3")  # as some clusters number the machines
    monkeypatch.setenv("WORLD_SIZE", "4")
    seen, args = [], options()
    run(seen.append, args)
    assert seen == [args]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"num_gpus": 3}, "--num-gpus is 3, but this machine has 2: give"),
        ({"num_gpus": 0}, "must be at least 1"),
        ({"num_gpus": -1}, "must be at least 1"),
        ({"num_machines": 0}, "must be at least 1"),
        ({"num_machines": 2, "machine_rank": 2}, "--machine-rank is 2: the machines"),
        ({"num_machines": 2, "machine_rank": -1}, "--machine-rank is -1"),
        ({"num_machines": 2}, "--dist-url is 'auto': several machines need tcp://HOST:PORT"),
        ({"num_machines": 2, "dist_url": "node1:29500"}, "several machines need tcp://HOST:PORT"),
        *(
            ({"num_machines": 2, "dist_url": url}, "several machines need tcp://HOST:PORT")
            for url in ("tcp://node1", "tcp://[::1:3", "tcp://node1:99999", "tcp://:3", "tcp://a:b")
        ),
    ],
)
def test_wrong_options(monkeypatch, given, sentence):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=sentence):
        run(pytest.fail, options(**given))


@pytest.mark.parametrize(
    ("given", "local", "sentence"),
    [
        ({}, None, "LOCAL_RANK is set, but not LOCAL_WORLD_SIZE: start the processes by torchrun"),
        ({}, "3", "--nproc-per-node is 3, but this machine has 2"),
        ({"num_gpus": 2}, "2", "leave out --num-gpus and --num-machines"),
    ],
)
def test_wrong_use_of_torchrun(monkeypatch, given, local, sentence):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    if local:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    with pytest.raises(UserError, match=sentence):
        run(pytest.fail, options(**given))


def test_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"cannot meet at --dist-url {url}.*port") as caught:
            run(print, options(num_machines=2, dist_url=url))
    assert "\n" not in str(caught.value)

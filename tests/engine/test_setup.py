import argparse
import logging
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, script_environment

from d2_psformer.d2.engine import default_argument_parser
from d2_psformer.engine import load_config, run, setup


@pytest.fixture
def config_file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "config.yaml").write_text(text)
        return str(tmp_path / "config.yaml")

    return write


@pytest.fixture
def clean_loggers():
    """Undo what setup_logger does to the loggers of this process."""
    names = ("fvcore", "detectron2", "d2_psformer", "d2_psformer.d2lite")
    before = [(x, x.handlers[:], x.propagate, x.level) for x in map(logging.getLogger, names)]
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers, logger.propagate, logger.level = handlers, propagate, level


def test_file_then_command_line(config_file):
    path = config_file("SOLVER: {BASE_LR: 0.5, MAX_ITER: 7}")
    cfg = load_config(path, ["SOLVER.MAX_ITER", "9", "MODEL.PSFORMER.NUM_QUERIES", "10"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.5, 9)
    assert cfg.MODEL.PSFORMER.NUM_QUERIES == 10
    assert not cfg.is_frozen()


@pytest.mark.parametrize(
    ("text", "opts", "word"),
    [
        ("SOLVER: {BASE_RL: 0.5}", [], "BASE_RL"),
        ("SOLVER: {MAX_ITER: many}", [], "MAX_ITER"),
        ("SOLVER: 3", [], "SOLVER"),
        ("SOLVER: {", [], "config.yaml"),
        ("{}", ["SOLVER.BASE_RL", "0.5"], "BASE_RL"),
        ("{}", ["SOLVER.BASE_LR"], "BASE_LR"),
    ],
)
def test_wrong_configs(config_file, text, opts, word):
    with pytest.raises(ValueError, match=word):
        load_config(config_file(text), opts)


def test_no_config_file():
    with pytest.raises(FileNotFoundError, match=r"'nowhere\.yaml' does not exist"):
        load_config("nowhere.yaml")


def test_setup(config_file, tmp_path, monkeypatch, clean_loggers):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out"
    path = config_file("MODEL: {DEVICE: cuda}\nSEED: 3")
    args = default_argument_parser().parse_args(["--config-file", path, "OUTPUT_DIR", str(out)])
    cfg = setup(args)
    assert cfg.is_frozen()
    assert cfg.MODEL.DEVICE == "cpu"
    assert (out / "config.yaml").exists()
    assert "No CUDA device found" in (out / "log.txt").read_text()


def test_setup_registers_data_sets(config_file, tmp_path, clean_loggers):
    path = config_file(f"DATASETS: {{REGISTER: [[mine, a, {tmp_path}/no.json, b]]}}")
    args = argparse.Namespace(config_file=path, opts=["OUTPUT_DIR", str(tmp_path / "out")])
    with pytest.raises(FileNotFoundError, match=r"no\.json"):
        setup(args)


def test_run_in_this_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    args = argparse.Namespace(num_gpus=1, num_machines=1, machine_rank=0, dist_url="auto")
    seen = []
    run(seen.append, args)
    assert seen == [args]


def train_net(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "train_net.py"), *args],
        env=script_environment(), cwd=ROOT, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def test_train_net_tells_what_to_do():
    done = train_net()
    assert done.returncode == 2
    assert "--config-file configs/" in done.stderr
    assert "Traceback" not in done.stderr


def test_train_net_helps():
    done = train_net("--help")
    assert done.returncode == 0
    for word in ("--eval-only", "--resume", "--num-gpus", "OUTPUT_DIR", "torchrun"):
        assert word in done.stdout

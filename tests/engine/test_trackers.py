"""Experiment trackers: what arrives there, one run for a resumed training, packages that lack."""

import importlib.util
import json
import os
import struct
from pathlib import Path

import pytest
import yaml
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine import trackers
from d2_psformer.utils.errors import UserError

STOPPED, WHOLE = 10, 30


def train(folder, tracker: str, iterations: int) -> RecordingTrainer:
    options = [
        "SOLVER.MAX_ITER",
        str(iterations),
        "SOLVER.STEPS",
        "(5,)",
        "TRACKERS",
        f"['{tracker}']",
    ]
    trainer = RecordingTrainer(dummy_cfg(folder, *options))
    trainer.resume_or_load(resume=True)
    trainer.train()
    return trainer


def losses_of(folder) -> dict[int, float]:
    """Iteration -> loss as metrics.json has it."""
    lines = [json.loads(line) for line in Path(folder, "metrics.json").read_text().splitlines()]
    return {line["iteration"]: line["total_loss"] for line in lines if "total_loss" in line}


@pytest.fixture
def clean_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(("WANDB", "MLFLOW")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # is undone after the test


def test_mlflow(tmp_path, clean_environment):
    mlflow = pytest.importorskip("mlflow")
    first = train(tmp_path, "mlflow", STOPPED)
    assert train(tmp_path, "mlflow", WHOLE).run_id == first.run_id
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("d2_psformer").experiment_id
    [run] = client.search_runs([experiment])
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert run.data.params["SOLVER.MAX_ITER"] == str(STOPPED)
    config = tmp_path / "mlruns" / experiment / run.info.run_id / "artifacts" / "config.yaml"
    assert yaml.safe_load(config.read_text())["SOLVER"]["MAX_ITER"] == STOPPED
    history = client.get_metric_history(run.info.run_id, "total_loss")
    assert {metric.step: metric.value for metric in history} == pytest.approx(losses_of(tmp_path))


def test_wandb_offline(tmp_path, clean_environment):
    pytest.importorskip("wandb")
    first = train(tmp_path, "wandb", STOPPED)
    assert train(tmp_path, "wandb", WHOLE).run_id == first.run_id
    files = list((tmp_path / "wandb").glob(f"offline-run-*/run-{first.run_id}.wandb"))
    assert len(files) == 2  # 'wandb sync' puts them together, as their id is one
    found, configs = {}, []
    for file in files:
        for record in records(file):
            values = {item.key or item.nested_key[0]: item for item in record.history.item}
            if "total_loss" in values:
                iteration = int(values["iteration"].value_json)
                found[iteration] = float(values["total_loss"].value_json)
            configs += [item.key for item in record.run.config.update]
    assert found == pytest.approx(losses_of(tmp_path))
    assert {"SOLVER", "MODEL", "OUTPUT_DIR"} <= set(configs)


def records(path: Path):
    """The records of an offline run: protocol buffers in the log format of LevelDB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, block, whole = path.read_bytes(), 7, 32768, b""
    while place + 7 <= len(data):
        if (left := block - place % block) < 7:  # a header does not cross the end of a block
            place += left
            continue
        length, kind = struct.unpack("<4xHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # the only part, the last part
            yield Record.FromString(whole)
            whole = b""


def test_names_that_mlflow_refuses(tmp_path, clean_environment):
    mlflow = pytest.importorskip("mlflow")
    writer = trackers.MlflowWriter(dummy_cfg(tmp_path), "id")
    writer.send(3, {"PQ-cat (7)": 0.5, "PQ-été": float("nan"), "panoptic_seg/PQ": 1.0})
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    metrics = client.get_run(writer._run).data.metrics
    assert set(metrics) == {"PQ-cat _7_", "PQ-été", "panoptic_seg/PQ"}


def test_a_training_that_fails_is_marked(tmp_path, clean_environment, monkeypatch):
    mlflow = pytest.importorskip("mlflow")

    def fail(trainer):
        raise UserError("no data")

    monkeypatch.setattr(RecordingTrainer, "run_step", fail)
    with pytest.raises(UserError, match="no data"):
        train(tmp_path, "mlflow", STOPPED)
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    [run] = client.search_runs([client.get_experiment_by_name("d2_psformer").experiment_id])
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("tracker", "sentence"),
    [
        ("wandb", "TRACKERS has 'wandb', whose package is not installed: 'pip install wandb'"),
        ("mlflow", "'pip install mlflow-skinny'"),
        ("tensorbord", "TRACKERS 'tensorbord' is unknown: use one of tensorboard"),
    ],
)
def test_what_is_missing(tmp_path, monkeypatch, tracker, sentence):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=sentence):
        trackers.build_trackers(dummy_cfg(tmp_path, "TRACKERS", f"['{tracker}']"), "id")


def test_no_tracker(tmp_path):
    assert trackers.build_trackers(dummy_cfg(tmp_path, "TRACKERS", "[]"), "id") == []

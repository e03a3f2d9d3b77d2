"""Scalars of a training in TensorBoard, Weights & Biases and MLflow."""

import importlib.util
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ..d2.config import CfgNode
from ..d2.utils import EventWriter, TensorboardXWriter
from ..utils.errors import UserError, check_known
from .writers import IterationWriter

logger = logging.getLogger(__name__)

PROJECT = "d2_psformer"


class _Tracker(IterationWriter):
    """Sends the new scalars of the storage to a run, which a resumed training continues.

    Args:
        cfg: logged with the run, which is named after OUTPUT_DIR.
        run_id: the same in all parts of a training.
    """

    def __init__(self, cfg: CfgNode, run_id: str):
        super().__init__()
        self.run_id = run_id
        self.folder = os.path.abspath(cfg.OUTPUT_DIR)
        self.name = os.path.basename(self.folder)
        self.config_text = cfg.dump()


class WandbWriter(_Tracker):
    """Weights & Biases. Offline unless WANDB_MODE is "online"; it reads its WANDB_... variables."""

    def __init__(self, cfg: CfgNode, run_id: str):
        super().__init__(cfg, run_id)
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=os.environ.get("WANDB_NAME", self.name),
                id=run_id,
                resume="allow",
                mode=os.environ.get("WANDB_MODE", "offline"),
                dir=self.folder,
                config=yaml.safe_load(self.config_text),
            )
        except wandb.errors.Error as error:
            raise UserError(f"TRACKERS has 'wandb', which cannot start: {error}") from error
        # Its own counter of steps refuses those that a resumed training repeats.
        self._run.define_metric("*", step_metric="iteration")

    def send(self, iteration: int, values: dict[str, float]) -> None:
        self._run.log({"iteration": iteration, **values})

    def close(self) -> None:
        self._run.finish(exit_code=int(_has_failed()))


class MlflowWriter(_Tracker):
    """MLflow, on the server of MLFLOW_TRACKING_URI or in the folder ``mlruns`` of OUTPUT_DIR."""

    def __init__(self, cfg: CfgNode, run_id: str):
        super().__init__(cfg, run_id)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self._error = MlflowException
        folder = Path(self.folder, "mlruns").as_uri()
        try:
            self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", folder))
            self._run = self._find_run() or self._start_run()
        except MlflowException as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"TRACKERS has 'mlflow', which cannot start: {reason}") from error

    def _find_run(self) -> str | None:
        tag = f"tags.{PROJECT}_run = '{self.run_id}'"
        found = self._client.search_runs([self._experiment()], tag)
        if not found:
            return None
        run = found[0].info.run_id
        self._client.update_run(run, status="RUNNING")
        return run

    def _start_run(self) -> str:
        tags = {f"{PROJECT}_run": self.run_id}
        run = self._client.create_run(self._experiment(), tags=tags, run_name=self.name).info.run_id
        for key, value in _flat(yaml.safe_load(self.config_text)):
            self._client.log_param(run, key, str(value)[:500])
        self._client.log_text(run, self.config_text, "config.yaml")
        return run

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        return found.experiment_id if found else self._client.create_experiment(name)

    def send(self, iteration: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(re.sub(r"[^\w\-./ ]", "_", name), value, now, iteration)
            for name, value in values.items()
        ]
        try:
            self._client.log_batch(self._run, metrics)
        except self._error as error:  # days of training are worth more than a few points
            logger.warning("MLflow did not take iteration %d: %s", iteration, error)

    def close(self) -> None:
        self._client.set_terminated(self._run, "FAILED" if _has_failed() else "FINISHED")


_WRITERS = {"wandb": (WandbWriter, "wandb"), "mlflow": (MlflowWriter, "mlflow-skinny")}


def build_trackers(cfg: CfgNode, run_id: str) -> list[EventWriter]:
    """Writers to the trackers of TRACKERS.

    Args:
        run_id: names the run of this training; a resumed training has that of its checkpoint.

    Raises:
        UserError: a name is unknown, a package is missing, or a tracker cannot start.
    """
    writers: list[EventWriter] = []
    for name in cfg.TRACKERS:
        check_known("TRACKERS", name, ("tensorboard", *_WRITERS))
        if name == "tensorboard":
            writers.append(TensorboardXWriter(cfg.OUTPUT_DIR))
            continue
        writer, package = _WRITERS[name]
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"TRACKERS has '{name}', whose package is not installed: 'pip install {package}', "
                "or take it out."
            )
        writers.append(writer(cfg, run_id))
    return writers


def _has_failed() -> bool:
    """True while an error, not an interruption or early stopping, ends the training."""
    return isinstance(sys.exc_info()[1], Exception)


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""A step is one process of train_net.py; its folder tells whether it is done, with what config."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from d2_psformer.d2.config import CfgNode
from d2_psformer.utils.files import read_json, write_json

TRAIN_NET = Path(__file__).resolve().parents[2] / "train_net.py"
_STATE, _OUTPUT = "state.json", "output.txt"
# Where and on what a step runs makes no other result of it.
_NO_MATTER = ("OUTPUT_DIR", "MODEL.DEVICE", "MODEL.WEIGHTS", "DATALOADER.NUM_WORKERS")
_OF_TESTS = ("MODEL.PSFORMER.TEST", "TEST", "DATASETS.TEST")


@dataclass(frozen=True)
class Step:
    """
    Attributes:
        folder: OUTPUT_DIR.
        cfg: with all overrides.
        arguments: of train_net.py, but for OUTPUT_DIR.
        iterations: of a training; 0 for an evaluation.
        data: what data it is, where the config does not tell.
    """

    folder: Path
    cfg: CfgNode
    arguments: tuple[str, ...]
    iterations: int = 0
    data: str = ""

    @cached_property
    def identity(self) -> dict[str, str]:
        """The settings that decide what comes out, by key."""
        left_out = _NO_MATTER + (_OF_TESTS if self.iterations else ())
        values = {"data": self.data, **_flat(self.cfg)}
        return {key: value for key, value in values.items() if not _is_below(key, left_out)}

    @property
    def changed_keys(self) -> list[str]:
        """Keys in which the folder's config differs.

        Keys that one of the two lacks do not count: new ones of the code keep its behaviour.
        """
        was, now = self._state().get("identity", {}), self.identity
        return sorted(key for key in was.keys() & now.keys() if was[key] != now[key])

    @property
    def is_done(self) -> bool:
        return self._state().get("state") == "done" and not self.changed_keys

    @property
    def iterations_done(self) -> int:
        """Of a training, as far as its log tells."""
        if self.is_done:
            return self.iterations
        lines = [] if self.changed_keys else self._log_lines()
        return min(lines[-1]["iteration"] + 1, self.iterations) if lines else 0

    @property
    def seconds_per_iteration(self) -> float | None:
        """Median, as far as its log tells."""
        times = [line["time"] for line in self._log_lines() if "time" in line]
        return statistics.median(times) if times else None

    def run(self, environment: dict[str, str], processes: list[subprocess.Popen]) -> str | None:
        """Run to the end; a training goes on where it was stopped.

        Args:
            processes: holds the process as long as it runs. It may be terminated by others.

        Returns:
            what went wrong, in its last words; None if nothing did.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_state("started")
        command = [sys.executable, str(TRAIN_NET), *self.arguments, "OUTPUT_DIR", str(self.folder)]
        with open(self.folder / _OUTPUT, "a") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for who started it
            )
        processes.append(process)
        status = process.wait()
        processes.remove(process)
        if status == -signal.SIGTERM:
            return None  # stopped on purpose, to go on later
        if status == 0:
            self._write_state("done")
            return None
        error = f"{_last_words(self.folder / _OUTPUT)} (status {status})"
        self._write_state("failed", error=error)
        return error

    def _state(self) -> dict:
        try:
            return read_json(self.folder / _STATE)
        except FileNotFoundError:
            return {}

    def _write_state(self, state: str, **more: str) -> None:
        write_json(self.folder / _STATE, {"state": state, "identity": self.identity, **more})

    def _log_lines(self) -> list[dict]:
        """The last lines of the log of a training."""
        log = self.folder / "metrics.json"
        if not log.is_file():
            return []
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 50_000))
            lines = file.read().decode(errors="replace").splitlines()
        found = []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut off
            if "iteration" in entry:
                found.append(entry)
        return found


def _flat(node: CfgNode, prefix: str = "") -> dict[str, str]:
    values = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, CfgNode):
            values |= _flat(value, f"{name}.")
        else:
            values[name] = json.dumps(value)  # knows no difference between tuples and lists
    return values


def _is_below(key: str, nodes: tuple[str, ...]) -> bool:
    return any(key == node or key.startswith(f"{node}.") for node in nodes)


def _last_words(output: Path) -> str:
    """The sentence that the command ended with, or the last line."""
    lines = [x.strip() for x in output.read_text(errors="replace").splitlines() if x.strip()]
    told = [line for line in lines[-5:] if re.match(r"\w+\.py: ", line)]
    return (told or lines or ["no output"])[-1]

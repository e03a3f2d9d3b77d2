"""The whole model: inference and one training step, against another checkout and transformers."""

import argparse
import importlib.util
import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from d2_psformer.utils.errors import UserError

from .timing import milliseconds

TOOLS = Path(__file__).resolve().parents[1]
HERE, AGAINST, PEER = "this checkout", "against", "transformers"


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each config, task, size, type and side; sides take turns.

    Raises:
        UserError: a process of a side ended, with its last line.
    """
    choices = options.config_files, options.tasks, options.sizes, options.dtypes
    plan = list(itertools.product(*choices))
    rows = []
    for case in tqdm(plan, desc="model", disable=None):
        rows += _measure_case(*case, options)
    return rows


def _measure_case(
    config: str, what: str, size: tuple[int, int], dtype: str, options: argparse.Namespace
) -> list[dict]:
    common = {
        "config": config,
        "what": what,
        "size": size,
        "dtype": dtype,
        "device": options.device,
        "threads": options.threads,
        "peer_settings": {},
    }
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                Side(folder, {**common, "is_peer": name == PEER, "opts": opts})
            )
            for name, (folder, opts) in _sides(options, dtype).items()
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                seconds[name].append(side.run())
    first = next(iter(sides))
    base, base_peak = milliseconds(seconds[first])["median ms"], sides[first].peak
    rows = []
    for name, side in sides.items():
        found = milliseconds(seconds[name])
        row = {"config": Path(config).stem, "task": what, "size": "x".join(map(str, size))}
        row |= {"dtype": dtype, "side": name}
        row |= {**found, "times the first": found["median ms"] / base}
        if side.peak is not None:
            row |= {"peak MB": side.peak / 2**20, "times its memory": side.peak / base_peak}
        rows.append(row)
    return rows


def _sides(options: argparse.Namespace, dtype: str) -> dict[str, tuple[Path, list[str]]]:
    """name: (checkout, settings); the first is what the others are compared with."""

    def settings(opts: str) -> list[str]:
        return shlex.split(opts.replace("{dtype}", dtype))

    ours = (TOOLS.parent, settings(options.opts))
    sides = {HERE: ours}
    if options.against:
        sides = {AGAINST: (options.against, settings(options.against_opts)), HERE: ours}
    if options.peer and importlib.util.find_spec("transformers"):
        sides[PEER] = ours
    return sides


class Side:
    """A process of ``model_driver`` in a checkout, ready to run; it ends with the context.

    Attributes:
        peak: the most bytes that a call takes, None if unknown.

    Raises:
        UserError: the process ended, with its last line.
    """

    def __init__(self, checkout: Path, spec: dict):
        checkout = checkout.resolve()
        path = os.pathsep.join(map(str, (checkout, TOOLS)))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  a pipe would fill up
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.model_driver", json.dumps(spec)],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        ready = self._answer()
        self.peak: int | None = ready["peak"]
        if ready["note"]:
            tqdm.write(f"'{checkout}' runs without a compiled kernel: {ready['note']}")

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def run(self) -> float:
        """Seconds of one call."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        last = (self._errors.read().strip() or "no message").splitlines()[-1]
        raise UserError(f"A process of the benchmark ended: {last}")

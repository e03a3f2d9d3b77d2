"""Trainings as processes of train_net.py, for tools that compare many of them."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TRAIN_NET = ROOT / "train_net.py"


def train_net(
    config: str, folder: Path, option: str, settings: dict, threads: int | None = None
) -> str | None:
    """Run train_net.py with ``folder`` as OUTPUT_DIR; what it says goes to output.txt there.

    Args:
        option: "--resume" or "--eval-only".
        threads: of the process; default those of OMP_NUM_THREADS, else all cores.

    Returns:
        The sentence that it failed with, None if it did not fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(TRAIN_NET), option, "--config-file", config]
    threads = threads or os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1
    log = folder / "output.txt"
    with log.open("w") as output:
        status = subprocess.run(
            [*command, *as_list({**settings, "OUTPUT_DIR": folder})],
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        ).returncode
    lines = log.read_text(errors="replace").strip().split("\n")
    said = [line for line in lines if line.startswith(f"{TRAIN_NET.name}: ")]
    return f"{(said or lines)[-1]} (status {status}, see '{log}')" if status else None


def as_list(settings: dict) -> list[str]:
    """KEY VALUE KEY VALUE ..."""
    return [str(text) for pair in settings.items() for text in pair]


def as_settings(opts: list[str]) -> dict[str, str]:
    """The reverse of :func:`as_list`."""
    return dict(zip(opts[::2], opts[1::2], strict=True))


def check_folder(output: Path, settings: dict) -> None:
    """Compare the settings with those of the runs that a folder holds, if there are any.

    Raises:
        UserError: they differ.
    """
    from d2_psformer.utils.errors import UserError

    file = output / "settings.json"
    if file.is_file() and json.loads(file.read_text()) != settings:
        raise UserError(
            f"'{output}' holds runs with other settings, those of '{file}': give another "
            "--output, or remove the folder."
        )


def write_settings(output: Path, settings: dict) -> None:
    """Note in a folder what :func:`check_folder` will compare with."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "settings.json").write_text(json.dumps(settings))


def generate_scenes(*options: str) -> None:
    """Write the generated scenes; those that are there are left alone."""
    generator = ROOT / "datasets" / "generate_scenes.py"
    subprocess.run([sys.executable, generator, *options], check=True)


def report_failures(tool: str, errors: dict[Path, str | None]) -> int:
    """Name the runs that failed; returns the status of the process."""
    failed = {folder: error for folder, error in errors.items() if error}
    for folder, error in failed.items():
        print(f"{tool}: {folder} failed: {error}", file=sys.stderr)
    return int(bool(failed))


def mean_and_error(values: Iterable[float], is_difference: bool = False) -> str:
    """The mean and, of two or more values, their standard deviation or the error of the mean."""
    values = list(values)
    mean = f"{statistics.fmean(values):{'+' if is_difference else ''}.1f}" if values else "-"
    if len(values) < 2:
        return mean
    error = statistics.stdev(values) / (len(values) ** 0.5 if is_difference else 1)
    return f"{mean} ± {error:.1f}"

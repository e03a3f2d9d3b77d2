#!/usr/bin/env python
"""Check this project on the GPU of this machine, in at most 8 minutes, and write a report.

Every step is a process with a time limit of its own, so that one that fails does not end the
others. The status is 1 if any step failed.
"""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
BUDGET = 470.0  # seconds for all steps
SHOWN_LINES = 40
EPILOG = """
Examples:
  everything              tools/gpu_check.py
  the steps and limits    tools/gpu_check.py --list
  two of them             tools/gpu_check.py --only "compile kernels" "timings of the operator"
"""


@dataclass(frozen=True)
class Step:
    """
    Attributes:
        limit: seconds after which the step is ended and counts as failed.
        shown: its output goes into the report even if it passes, because it is a table.
        must_not_skip: it is a run of pytest in which a skipped test counts as failed.
    """

    name: str
    command: Sequence[str]
    limit: float
    shown: bool = False
    must_not_skip: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a step; ``problem`` is empty if it passed."""

    step: Step
    seconds: float
    output: str
    problem: str


def steps(folder: Path) -> list[Step]:
    """All checks, the most important first; data and trainings go to ``folder``."""
    scenes = [PYTHON, "datasets/generate_scenes.py", "--train", "400", "--val", "20"]
    train = ["train_net.py", "--config-file", "configs/scenes/demo.yaml", "MODEL.DEVICE", "cuda"]
    short = ["SOLVER.MAX_ITER", "60", "OUTPUT_DIR"]
    torchrun = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    benchmark = [PYTHON, "tools/benchmark.py"]
    model = ["model", "--device", "cuda", "--sizes", "800x1200", "--dtypes", "bfloat16"]

    def tests(name: str, limit: float, *selection: str) -> Step:
        command = [PYTHON, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *selection]
        return Step(name, command, limit, must_not_skip=True)

    on_gpu = "tests/gpu/test_on_gpu.py"
    return [
        Step("compile kernels", [PYTHON, "-m", "d2_psformer.ops", "build", "cpu", "cuda"], 150),
        Step("self-check of the kernels", [PYTHON, "-m", "d2_psformer.ops"], 60, shown=True),
        tests("operator: CUDA", 60, "tests/ops/test_cuda_kernel.py", "-k", "on_a_gpu"),
        tests("operator: Triton", 60, "tests/ops/test_triton_kernel.py", "-k", "on_a_gpu"),
        tests("model: float32", 60, on_gpu, "-k", "prediction and not half and not compiled"),
        tests("model: training step", 60, on_gpu, "-k", "training_step and not half"),
        tests("model: bfloat16", 60, on_gpu, "-k", "bfloat16"),
        tests("model: float16 with the scaler", 60, on_gpu, "-k", "float16 and not bfloat16"),
        tests("one process over NCCL", 60, on_gpu, "-k", "nccl"),
        Step("generate scenes", scenes, 60),
        Step("training on scenes", [PYTHON, *train, *short, f"{folder}/alone"], 90),
        Step("training under torchrun", [*torchrun, *train, *short, f"{folder}/torchrun"], 90),
        tests("torch.compile", 120, on_gpu, "-k", "compiled"),
        Step("timings of the operator", [*benchmark, "op", "--device", "cuda"], 90, shown=True),
        Step("timings of the model", [*benchmark, *model], 150, shown=True),
    ]


def run_steps(
    chosen: Sequence[Step], environment: dict[str, str], budget: float = BUDGET
) -> list[Outcome]:
    """Run the steps one after the other; those for which no time is left fail unrun."""
    end = time.monotonic() + budget
    outcomes = []
    for step in chosen:
        print(f"{step.name} ... ", end="", flush=True)
        outcome = run_step(step, environment, end - time.monotonic())
        print(f"{outcome.problem or 'passed'} ({outcome.seconds:.0f} s)", flush=True)
        outcomes.append(outcome)
    return outcomes


def run_step(step: Step, environment: dict[str, str], time_left: float) -> Outcome:
    """Run one step with what limits it more, its own limit or the time left."""
    if time_left < 1:
        return Outcome(step, 0.0, "", "not run, because no time was left")
    limit = min(step.limit, time_left)
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        # A session of its own can be ended as a whole, with the processes that a step starts.
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
            problem = f"failed with status {status}" if status else ""
        except subprocess.TimeoutExpired:
            problem = f"failed: not done after {limit:.0f} s"
        finally:
            _end(process)
        file.seek(0)
        output = file.read()
    if not problem and step.must_not_skip and "skipped" in output:
        problem = "failed: tests were skipped"
    return Outcome(step, time.monotonic() - start, output, problem)


def _end(process: subprocess.Popen) -> None:
    """End a process that still runs, first by a signal on which torchrun ends its own processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)


def describe_machine() -> list[str]:
    """Hardware and versions, as lines of Markdown."""
    import torch

    gpu = torch.cuda.get_device_properties(0)
    lines = [
        f"{gpu.name}, compute capability {gpu.major}.{gpu.minor}, {gpu.total_memory >> 30} GiB",
        f"Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
    ]
    return [*(f"- {line}" for line in lines), *map("- {}".format, package_versions())]


def package_versions() -> list[str]:
    """The packages that timings compare with; a line says which of them is missing."""
    from importlib import metadata

    found = []
    for name in ("triton", "transformers", "deformops"):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is not installed: what needs it is left out")
    return found


def report(machine: Sequence[str], outcomes: Sequence[Outcome]) -> str:
    """The report as Markdown: machine, table of steps, tables of timings, output of failures."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    names = ", ".join(outcome.step.name for outcome in failed)
    verdict = (
        f"{len(failed)} of {len(outcomes)} steps failed: {names}." if failed else "All passed."
    )
    lines = ["# Check on a GPU", "", *machine, "", verdict, ""]
    lines += ["| step | result | seconds |", "|---|---|---|"]
    lines += [f"| {o.step.name} | {o.problem or 'passed'} | {o.seconds:.0f} |" for o in outcomes]
    for outcome in outcomes:
        if outcome.step.shown and not outcome.problem:
            lines += ["", f"## {outcome.step.name}", "", *_table_of(outcome.output)]
        elif outcome.problem and outcome.output:
            last = outcome.output.strip().splitlines()[-SHOWN_LINES:]
            lines += ["", f"## {outcome.step.name}", "", "```", *last, "```"]
    return "\n".join(lines) + "\n"


def _table_of(output: str) -> list[str]:
    """Output without progress bars; as code unless it holds a table."""
    lines = [
        line for line in output.strip().splitlines() if "it/s" not in line and "s/it" not in line
    ]
    is_table = any(line.startswith("|") for line in lines)
    return lines if is_table else ["```", *lines, "```"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    output = Path("output") / "gpu_check.md"
    parser.add_argument("--output", type=Path, default=output, metavar="FILE", help=f"({output})")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="names of steps")
    parser.add_argument("--list", action="store_true", help="list the steps and their limits")
    args = parser.parse_args(arguments)
    known = [step.name for step in steps(Path())]
    if unknown := [name for name in args.only if name not in known]:
        parser.error(f"there is no step '{unknown[0]}': {', '.join(known)}")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        chosen = [s for s in steps(Path(name)) if not args.only or s.name in args.only]
        if args.list:
            print("\n".join(f"{step.limit:4.0f} s  {step.name}" for step in chosen))
            return 0
        import torch

        if not torch.cuda.is_available():
            print("gpu_check.py: this machine has no GPU that PyTorch can use.", file=sys.stderr)
            return 1
        major, minor = torch.cuda.get_device_capability()
        # Kernels are compiled for this GPU alone; scenes are generated for this check alone.
        environment = {"TORCH_CUDA_ARCH_LIST": f"{major}.{minor}", "DETECTRON2_DATASETS": name}
        outcomes = run_steps(chosen, environment)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(report(describe_machine(), outcomes))
    print(f"The report is in {args.output}.")
    return int(any(outcome.problem for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python
"""Train the paper's ablations on generated scenes, and tell what makes a difference.

Every variant is trained with a fixed number of iterations and several seeds. Runs that are done are
not repeated, those that were stopped go on; Ctrl-C keeps what is done.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from ablation.declarations import DEFAULT_FILE, read_ablations
from ablation.figure import draw
from ablation.plan import Planner, Run, write_missing_scenes
from ablation.results import as_json, as_markdown, collect
from ablation.runner import Runner, estimate
from benchmarks.machine import describe_machine

import d2_psformer.modeling  # noqa: F401  registers models
from d2_psformer.engine import load_config
from d2_psformer.utils.commands import report_user_errors
from d2_psformer.utils.files import atomic_write, write_json

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "scenes" / "ablation.yaml"
# Seconds an iteration of that config on one core of an AMD EPYC: a guess until something has run.
USUAL_SPEED = 0.4

EPILOG = f"""
Examples:
  what would be run, and how long it takes    tools/ablate.py --dry-run
  everything, with three seeds                tools/ablate.py
  a smaller table                             tools/ablate.py --seeds 0 1 --iterations 500
  two ablations                               tools/ablate.py --only encoder merging
  on a GPU, four runs at a time               tools/ablate.py --device cuda --jobs 4
  other settings for all runs                 tools/ablate.py --opts SOLVER.IMS_PER_BATCH 4

Written to --output: ablations.md (tables), ablations.json (all figures), ablations.png, and for
each run a folder of train_net.py. Ablations are declared in {DEFAULT_FILE.relative_to(ROOT)}.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="NAME", help="ablations to run (default: all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--iterations", type=int, metavar="N", help="of every training (default: the config's)")
    add("--jobs", type=int, metavar="N", help="runs at a time (default: one for each core, or GPU)")
    add("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")
    add("--dry-run", action="store_true", help="tell what would be run and how long it takes")
    add("--redo", action="store_true", help="run again what was run with another config")
    add(
        "--config-file",
        default=str(CONFIG),
        metavar="FILE",
        help="what all variants start from (default: configs/scenes/ablation.yaml)",
    )
    add("--ablations", default=str(DEFAULT_FILE), metavar="FILE", help="their declarations")
    add("--output", type=Path, metavar="DIR", help="default: OUTPUT_DIR of the config")
    add(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="settings that replace those of the config in all runs, at the very end",
    )
    args = parser.parse_args(arguments)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}: give 1 or more")
    if args.iterations is not None and args.iterations < 1:
        parser.error(f"--iterations is {args.iterations}: give 1 or more")
    args.device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    args.jobs = args.jobs or (
        torch.cuda.device_count() if args.device == "cuda" else os.cpu_count()
    )
    return args


@report_user_errors()
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    settings = [*args.opts, "MODEL.DEVICE", args.device]
    if args.iterations:
        settings += ["SOLVER.MAX_ITER", str(args.iterations)]
    cfg = load_config(args.config_file, settings)
    folder = args.output or Path(cfg.OUTPUT_DIR)
    planner = Planner(args.config_file, tuple(settings), folder)
    ablations = read_ablations(args.ablations, args.only)
    if not args.dry_run:
        write_missing_scenes(cfg, workers=os.cpu_count() or 1)

    runs = [
        settle(run, args.redo and not args.dry_run) for run in planner.plan(ablations, args.seeds)
    ]
    runs = [run for run in runs if run is not None]
    if args.dry_run:
        print(describe(runs, args.jobs))
        return 0
    failures, status = {}, 0
    try:
        failures = Runner(args.jobs).run(runs)
    except KeyboardInterrupt:
        print("Stopped: the same command goes on from here.", file=sys.stderr)
        status = 130
    write_results(planner, args.ablations, describe_machine(args.device))
    for name, error in failures.items():
        print(f"ablate.py: {name} failed: {error}", file=sys.stderr)
    return status or int(bool(failures))


def settle(run: Run, redo: bool) -> Run | None:
    """The run without what was done before with another config; of which one is told.

    Args:
        redo: remove such results, so that they are made anew.
    """
    if run.training.changed_keys and not redo:
        tell_changed(run.training.folder, run.training.changed_keys)
        return None
    evaluations = {}
    for name, step in run.evaluations.items():
        if not step.changed_keys or redo or run.training.changed_keys:
            evaluations[name] = step
        else:
            tell_changed(step.folder, step.changed_keys)
    if redo:
        for step in run.steps:
            if step.changed_keys:
                shutil.rmtree(step.folder)
    return replace(run, evaluations=evaluations)


def tell_changed(folder: Path, keys: Sequence[str]) -> None:
    print(
        f"ablate.py: '{folder}' was made with another config ({', '.join(keys)}) and is left out: "
        "--redo makes it anew.",
        file=sys.stderr,
    )


def describe(runs: Sequence[Run], jobs: int) -> str:
    """What is done, what is left, and how long that takes."""
    lines = []
    for run in runs:
        training, evaluations = run.training, run.evaluations.values()
        done = sum(step.is_done for step in evaluations)
        lines.append(
            f"{run.name}: {training.iterations_done} of {training.iterations} iterations, "
            f"{done} of {len(evaluations)} evaluations"
        )
    seconds, is_measured = estimate(runs, USUAL_SPEED)
    how = "as fast as runs so far" if is_measured else f"if an iteration takes {USUAL_SPEED} s"
    total = timedelta(seconds=round(seconds / jobs))
    return "\n".join([*lines, f"{len(runs)} runs, left to do: {total} with --jobs {jobs} ({how})"])


def write_results(planner: Planner, declarations: str, machine: dict) -> None:
    """Tables and figure of everything in the folder that is done with this config."""
    seeds = sorted(int(p.name.removeprefix("seed")) for p in planner.folder.glob("runs/base/seed*"))
    every = (collect(planner, ablation, seeds) for ablation in read_ablations(declarations))
    results = [x for x in every if sum(bool(row.by_seed) for row in x.rows) > 1]
    if not results:
        return
    tables = as_markdown(results)
    with atomic_write(planner.folder / "ablations.md", "w") as file:
        file.write(tables + "\n")
    write_json(planner.folder / "ablations.json", {"machine": machine, **as_json(results)})
    draw(results, planner.folder / "ablations.png")
    print(f"{tables}\n\nTables and figure are in {planner.folder}.")


if __name__ == "__main__":
    # whoever ends the command, by Ctrl-C or else, ends its processes too
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())

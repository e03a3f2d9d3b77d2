#!/usr/bin/env python
"""Train the variants of a YAML file on generated scenes, each with several seeds, and compare them.

Every run is a process of train_net.py. What is done is not repeated and what was stopped, by Ctrl-C
or else, goes on where it was.
"""

import argparse
import os
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ablations import ABLATIONS, Row, collect, metrics_file, read_ablations
from runs import (
    ROOT,
    as_list,
    as_settings,
    check_folder,
    generate_scenes,
    mean_and_error,
    report_failures,
    train_net,
    write_settings,
)

sys.path.insert(0, str(ROOT))  # works before installation too
CONFIG = ROOT / "configs" / "scenes" / "ablation.yaml"
COLUMNS = {"PQ_th": "things", "PQ_st": "stuff"}  # metric: its name in tables
COLUMNS |= {f"PQ_{size}": size for size in ("small", "medium", "large")}
EPILOG = """
Examples:
  what would be run                 tools/ablate.py --dry-run
  everything, with three seeds      tools/ablate.py
  a smaller table                   tools/ablate.py --seeds 0 1 --iterations 500
  two ablations                     tools/ablate.py --only encoder merging
  on a GPU, four runs at a time     tools/ablate.py --device cuda --jobs 4
  other settings for all runs       tools/ablate.py --output DIR --opts SOLVER.IMS_PER_BATCH 4

Written to --output: ablations.md (tables), ablations.png, and for each run a folder.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", default=[], metavar="NAME", help="ablations to run (default: all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--iterations", type=int, metavar="N", help="of every training (default: the config's)")
    add("--jobs", type=int, default=1, metavar="N", help="runs at a time, which share the cores")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--dry-run", action="store_true", help="list what would be run")
    add("--config-file", default=str(CONFIG), metavar="FILE", help="what all variants start from")
    add("--ablations", default=str(ABLATIONS), metavar="FILE", help="their declarations")
    add("--output", type=Path, default="output/ablation", metavar="DIR", help="(%(default)s)")
    add("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... for all, at the end")
    args = parser.parse_args(arguments)
    if args.jobs < 1 or len(args.opts) % 2:
        parser.error("--jobs must be 1 or more, --opts pairs of KEY VALUE")
    return args


def check_settings(args: argparse.Namespace, settings: dict, ablations: dict[str, dict]) -> None:
    """Load the config with the settings of every row, and compare with what the folder holds.

    Raises:
        UserError: a key or value that does not exist, with its row; or runs with other settings.
    """
    from d2_psformer.engine import load_config
    from d2_psformer.utils.errors import UserError

    for name, ablation in ablations.items():
        for row in ablation["rows"]:
            try:
                load_config(args.config_file, as_list({**settings, **row.train, **row.test}))
            except ValueError as error:
                raise UserError(f"Ablation '{name}', row '{row.label}': {error}") from error
    check_folder(args.output, settings)


def run_seed(args: argparse.Namespace, settings: dict, rows: list[Row], seed: int) -> str | None:
    """Train what these rows share and evaluate each; returns what went wrong, None if nothing."""
    first = rows[0]
    training = first.training_folder(args.output, seed)
    common = {**settings, **first.train, "SEED": seed, "MODEL.DEVICE": args.device}
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    run = partial(train_net, args.config_file, threads=threads)
    weights = training / "model_final.pth"
    if not weights.is_file():
        error = run(training, "--resume", {**common, "DATASETS.TEST": "()"})
        if error:
            return error
    for row in rows:
        folder = row.evaluation_folder(args.output, seed)
        if not metrics_file(folder):
            evaluation = {**common, **row.test, "MODEL.WEIGHTS": weights}
            if error := run(folder, "--eval-only", evaluation):
                return error
    return None


def as_table(results: dict[str, dict[int, dict]]) -> str:
    """Means over seeds with the standard deviation; differences to the first row, seed by seed."""
    from tabulate import tabulate

    first = next(iter(results.values()))
    lines = []
    for label, by_seed in results.items():
        gaps = [by_seed[s]["PQ"] - first[s]["PQ"] for s in by_seed.keys() & first.keys()]
        line = {"": label, "PQ": mean_and_error([f["PQ"] for f in by_seed.values()])}
        # The mean of differences has a standard error, the seeds have a standard deviation.
        line["against the first"] = "" if by_seed is first else mean_and_error(gaps, True)
        for key, name in COLUMNS.items():
            values = [f[key] for f in by_seed.values() if f.get(key) is not None]
            line[name] = f"{statistics.fmean(values):.1f}" if values else "-"
        lines.append({**line, "n": str(len(by_seed))})
    return tabulate(lines, "keys", "github", disable_numparse=True)


def draw(panels: dict[str, dict[str, dict[int, dict]]], path: Path) -> None:
    """Write a PNG: a panel for each ablation; small dots are seeds, large ones their means."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [len(results) + 1.2 for results in panels.values()]
    figure = Figure(figsize=(8.5, 0.31 * sum(heights) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    for (title, results), panel in zip(panels.items(), axes[:, 0], strict=True):
        for place, by_seed in enumerate(results.values()):
            values = [figures["PQ"] for figures in by_seed.values()]
            colour = "#c2410c" if place else "#444444"
            panel.plot(values, [place] * len(values), "o", color=colour, markersize=3.5, alpha=0.5)
            if values:
                panel.plot(statistics.fmean(values), place, "o", color=colour, markersize=8)
        panel.set_yticks(range(len(results)), list(results))
        panel.set_ylim(len(results) - 0.5, -0.5)
        panel.set_title(title, loc="left", fontsize=10, fontweight="bold")
        panel.grid(axis="x", alpha=0.3)
    axes[-1, 0].set_xlabel("panoptic quality, %")
    figure.savefig(path, dpi=120)


def write_results(args: argparse.Namespace) -> None:
    """Tables and figure of everything in the output folder, of all ablations and seeds."""
    tables, panels = [], {}
    for ablation in read_ablations(args.ablations, []).values():
        results = {row.label: collect(row, args.output) for row in ablation["rows"]}
        if any(results.values()):
            tables.append(f"{ablation['heading']}\n\n{as_table(results)}\n")
            panels[ablation["title"]] = results
    if panels:
        (args.output / "ablations.md").write_text("\n".join(tables))
        draw(panels, args.output / "ablations.png")
        print("\n".join(tables), f"\nTables and figure are in {args.output}.")


def ablate(args: argparse.Namespace) -> int:
    ablations = read_ablations(args.ablations, args.only)
    settings = as_settings(args.opts)
    if args.iterations:
        settings["SOLVER.MAX_ITER"] = str(args.iterations)
    check_settings(args, settings, ablations)
    runs: dict[Path, tuple[list[Row], int]] = {}
    for seed in args.seeds:
        for row in (row for ablation in ablations.values() for row in ablation["rows"]):
            rows, _ = runs.setdefault(row.training_folder(args.output, seed), ([], seed))
            rows.append(row)
    if args.dry_run:
        for rows, seed in runs.values():
            for folder in {row.evaluation_folder(args.output, seed): None for row in rows}:
                print(f"{'done' if metrics_file(folder) else 'to do'}: {folder}")
        return 0
    if args.config_file == str(CONFIG):  # scenes that are there are left alone
        generate_scenes("--level", "hard")
    write_settings(args.output, settings)
    try:
        with ThreadPoolExecutor(args.jobs) as pool:
            try:
                work = {f: pool.submit(run_seed, args, settings, *run) for f, run in runs.items()}
                errors = {folder: future.result() for folder, future in work.items()}
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        write_results(args)
    return report_failures("ablate.py", errors)


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    from d2_psformer.utils.commands import report_user_errors

    with report_user_errors():
        return ablate(args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped: the same command goes on from here.")

#!/usr/bin/env python
"""Train all architectures on generated scenes, and write what they learned beside each other.

All have the same data, augmentation, batch and number of iterations, and the same backbone, except
MaX-DeepLab and EoMT, whose queries run through backbones of their own. Every run is a process of
train_net.py. What is done is not repeated and what was stopped, by Ctrl-C or else, goes on where it
was.
"""

import argparse
import json
import re
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runs import (
    ROOT,
    as_list,
    as_settings,
    check_folder,
    generate_scenes,
    report_failures,
    train_net,
    write_settings,
)

sys.path.insert(0, str(ROOT))  # works before installation too
CONFIGS = ROOT / "configs" / "scenes"
MODELS = {
    "Panoptic SegFormer": "demo.yaml",
    "Panoptic SegFormer, version 1": "psformer_v1.yaml",
    "MaskFormer": "maskformer.yaml",
    "Mask2Former": "mask2former.yaml",
    "MaX-DeepLab": "max_deeplab.yaml",
    "EoMT": "eomt.yaml",
}
STEPS = 10  # training steps of each model that are timed
EPILOG = """
Examples:
  the whole comparison       tools/compare.py
  what would be run          tools/compare.py --dry-run
  a look at a short one      tools/compare.py --iterations 200 --evaluations 2 --seeds 0 \\
                                 --output output/short --document output/short/comparison.md
  on a GPU                   tools/compare.py --device cuda

Written to --output: for each run a folder, and step_times.json. The step times are measured once,
when nothing else of this tool runs: the models take turns, so that other work on the machine slows
down all of them alike. Minutes in the document are iterations times these.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", nargs="+", type=int, default=[0, 1], metavar="N", help="default: 0 1")
    add("--iterations", type=int, default=3000, metavar="N", help="of a training (%(default)s)")
    add("--evaluations", type=int, default=10, metavar="N", help="in a training (%(default)s)")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--dry-run", action="store_true", help="list what would be run")
    add("--output", type=Path, default="output/comparison", metavar="DIR", help="(%(default)s)")
    add(
        "--document",
        type=Path,
        default=ROOT / "docs" / "comparison.md",
        metavar="FILE",
        help="its part between two marks is written anew, with pictures beside it; text outside "
        "them stays (docs/comparison.md)",
    )
    add("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... for all, at the end")
    args = parser.parse_args(arguments)
    if not 1 <= args.evaluations <= args.iterations or len(args.opts) % 2:
        parser.error("--iterations and --evaluations must be 1 or more, --opts pairs of KEY VALUE")
    return args


@dataclass(frozen=True)
class Run:
    """A training of a model with one seed.

    Attributes:
        config: file in configs/scenes.
        settings: that replace the config's.
    """

    model: str
    config: str
    seed: int
    folder: Path
    settings: dict

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """Name of a figure -> iterations and values; empty before the first."""
        from d2_psformer.visualization.curves import read_curves

        file = self.folder / "metrics.json"
        return read_curves(file) if file.is_file() and file.stat().st_size else {}

    def is_done(self) -> bool:
        """The evaluation after the last iteration is there."""
        iterations, _ = self.curves().get("panoptic_seg/PQ", ([0], []))
        return iterations[-1] >= int(self.settings["SOLVER.MAX_ITER"]) - 1

    def load_config(self):
        """The config that train_net.py sees, with its data sets registered."""
        from d2_psformer.engine.analysis import read_config

        settings = {**self.settings, "OUTPUT_DIR": self.folder}
        return read_config(str(CONFIGS / self.config), as_list(settings))

    def train(self) -> str | None:
        """What went wrong, None if nothing."""
        return train_net(str(CONFIGS / self.config), self.folder, "--resume", self.settings)

    def peak_memory(self) -> int:
        """Of the training, in MiB, as its log says."""
        return int(re.findall(r"max_mem: (\d+)M", (self.folder / "log.txt").read_text())[-1])


def declared_runs(args: argparse.Namespace, settings: dict) -> list[Run]:
    """Seed by seed, so that all models have a first result early."""
    return [
        Run(
            model,
            config,
            seed,
            args.output / Path(config).stem / f"seed{seed}",
            {**settings, "SEED": seed, "MODEL.DEVICE": args.device},
        )
        for seed in args.seeds
        for model, config in MODELS.items()
    ]


def step_times(runs: list[Run], file: Path) -> dict[str, float]:
    """Seconds of a training step of every model, the median of several; measured once."""
    if file.is_file():
        return json.loads(file.read_text())
    from benchmarks.timing import take_turns

    from d2_psformer.engine import Trainer
    from d2_psformer.engine.data_loader import build_train_loader

    calls = {}
    for run in {run.model: run for run in reversed(runs)}.values():
        cfg = run.load_config()
        trainer = Trainer(cfg)
        trainer.model.train()
        batch = next(iter(build_train_loader(cfg, seed=0, start_iter=0)))
        calls[run.model] = partial(trainer.train_step, [batch], 0)
    seconds = take_turns(calls, STEPS, runs[0].settings["MODEL.DEVICE"])
    medians = {model: statistics.median(found) for model, found in seconds.items()}
    file.write_text(json.dumps(medians))
    return medians


def compare(args: argparse.Namespace) -> int:
    settings = {
        **as_settings(args.opts),
        "SOLVER.MAX_ITER": str(args.iterations),
        "TEST.EVAL_PERIOD": str(args.iterations // args.evaluations),
    }
    runs = declared_runs(args, settings)
    for run in runs:
        run.load_config()  # names a setting that does not exist before anything runs
    check_folder(args.output, settings)
    if args.dry_run:
        for run in runs:
            print(f"{'done' if run.is_done() else 'to do'}: {run.folder}")
        return 0
    generate_scenes("--train", "6000")
    write_settings(args.output, settings)
    seconds = step_times(runs, args.output / "step_times.json")
    errors = {}
    for number, run in enumerate(runs, 1):
        left = seconds[run.model] * args.iterations / 60
        print(f"{number} of {len(runs)}: {run.model}, seed {run.seed}", end=" ", flush=True)
        print("is done" if run.is_done() else f"takes {left:.0f} minutes or more", flush=True)
        errors[run.folder] = None if run.is_done() else run.train()
    done = [run for run in runs if run.is_done()]
    if done:
        from comparison import write_comparison

        write_comparison(args.document, done, seconds, args.iterations)
        print(f"Written: {args.document}")
    return report_failures("compare.py", errors)


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    from d2_psformer.utils.commands import report_user_errors

    with report_user_errors():
        return compare(args)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Stopped: the same command goes on from here.")

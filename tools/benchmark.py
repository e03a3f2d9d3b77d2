#!/usr/bin/env python
"""Measure speed and memory beside what a user would run otherwise, in one process."""

import argparse
import importlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from benchmarks.machine import describe_machine

from d2_psformer.utils.commands import report_user_errors
from d2_psformer.utils.files import write_json

# name -> what is measured; each is a module of tools/benchmarks with add_options(parser) and
# measure(options) -> list of rows, and TITLE
BENCHMARKS = {
    "op": "multi-scale deformable attention against grid_sample and other kernels",
    "inference": "the whole model against a plain formulation and transformers' Mask2Former",
    "training": "a step of training against the same two",
    "pq": "panoptic quality of maps in memory against the way over PNG files",
    "merging": "mask-wise merging against a loop over masks of the whole image",
    "loader": "the training loader alone against the mapper of other panoptic projects",
}

EPILOG = """
Examples:
  everything on this CPU         tools/benchmark.py op --threads 1 2 --json op.json
  one case, quickly              tools/benchmark.py op --cases decoder --rounds 3
  on a GPU                       tools/benchmark.py op --device cuda
  the model, ours in bfloat16    tools/benchmark.py inference --dtype bfloat16 --json inference.json
  cost against the work          tools/benchmark.py inference --sweep size queries batch
  training with other settings   tools/benchmark.py training --opts SOLVER.AMP.ENABLED True
  evaluation of 100 images       tools/benchmark.py pq
  images a second for training   tools/benchmark.py loader --workers 0 2
  from masks to the id map       tools/benchmark.py merging --threads 1 2

Competitors take turns, so that noise of a shared machine meets all of them; figures are medians.
"""


@report_user_errors()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="name", required=True)
    for name, meaning in BENCHMARKS.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        command.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
        command.add_argument(
            "--rounds", type=int, default=7, metavar="N", help="turns (default: %(default)s)"
        )
        importlib.import_module(f"benchmarks.{name}").add_options(command)
    options = parser.parse_args()
    machine = describe_machine(getattr(options, "device", "cpu"))
    print(json.dumps(machine))
    rows = importlib.import_module(f"benchmarks.{options.name}").measure(options)
    if options.json:
        write_json(options.json, {"machine": machine, "results": rows})


if __name__ == "__main__":
    main()

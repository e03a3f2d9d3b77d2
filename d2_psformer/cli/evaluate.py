"""``psformer evaluate``: of a model, or of files of predictions as panopticapi does it."""

import argparse
import sys

from ..utils.commands import add_config
from ..utils.errors import UserError
from . import train

SUMMARY = "evaluate a model, or files of predictions"
EPILOG = """
Examples:
  a trained model     psformer evaluate --config CONFIG MODEL.WEIGHTS output/model_final.pth
  the last checkpoint psformer evaluate --config CONFIG --resume
  own data            psformer evaluate --config CONFIG --data mine/data.yaml MODEL.WEIGHTS m.pth
  files               psformer evaluate --predictions panoptic.json --ground-truth truth.json

Figures go to OUTPUT_DIR/inference, for data without ground truth files of results. Panoptic quality
of files in COCO's format is exact, crowds included; the names of panopticapi's arguments work too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("evaluation of files")
    add = files.add_argument
    add("--predictions", "--pred_json_file", metavar="JSON", help="COCO panoptic format")
    add("--ground-truth", "--gt_json_file", metavar="JSON", help="COCO panoptic format")
    default = "; default: the JSON's path without .json"
    add("--predictions-folder", "--pred_folder", metavar="DIR", help="predicted PNGs" + default)
    add("--ground-truth-folder", "--gt_folder", metavar="DIR", help="true PNGs" + default)
    add("--per-class", action="store_true", help="print a row for each class")
    add("--json", metavar="OUT", help="write all figures to this file")
    add(
        "--size-bounds",
        nargs=2,
        type=int,
        default=(32**2, 96**2),
        metavar=("MEDIUM", "LARGE"),
        help="least area in pixels of a medium and a large segment; default: COCO's %(default)s",
    )
    train.add_processes(parser)
    add_config(parser)
    parser.set_defaults(eval_only=True)


def run(args: argparse.Namespace) -> None:
    if not args.predictions and not args.ground_truth:
        train.run(args)
        return
    if not (args.predictions and args.ground_truth):
        raise UserError("--predictions and --ground-truth go together: give the JSONs of both.")
    _evaluate_files(args)


def _evaluate_files(args: argparse.Namespace) -> None:
    from ..evaluation.panoptic_quality import evaluate_files
    from ..evaluation.pq_tables import per_class_table, summary_table
    from ..utils.files import write_json

    quality = evaluate_files(
        args.ground_truth,
        args.predictions,
        args.ground_truth_folder,
        args.predictions_folder,
        size_bounds=tuple(args.size_bounds),
    )
    results = quality.results()
    if args.per_class:
        sys.stdout.write(per_class_table(results) + "\n\n")
    sys.stdout.write(summary_table(results) + "\n")
    if args.json:
        write_json(args.json, {**results, "num_images": quality.num_images})

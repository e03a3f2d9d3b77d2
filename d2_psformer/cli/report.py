"""``psformer report``: a page on a trained model, or on two side by side."""

import argparse
import sys
from pathlib import Path

SUMMARY = "evaluate a trained model and write a page of figures and pictures"
EPILOG = """
Examples:
  after a training    psformer report output/demo
  two trainings       psformer report output/a --compare output/b
  any checkpoint      psformer report coco/psformer_R50_2x --opts MODEL.WEIGHTS model.pth
  own data            psformer report output/mine --data mine/data.yaml

Of the folder of a training (OUTPUT_DIR) config.yaml and model_final.pth are used, and metrics.json
for its curves. Both models are evaluated now, on the first data set of DATASETS.TEST of RUN, which
may have panoptic, semantic or instance ground truth. The page is one HTML file that opens without
a network.
"""
MOST_IMAGES = 200  # in one file, about 0.3 MB each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a training, or a config: a file or a name")
    add("--compare", metavar="RUN", help="a second one, to stand beside the first")
    add("--data", metavar="YAML_OR_DIR", help="data.yaml of your data set, or the folder it is in")
    add_page(parser)
    add("--opts", nargs=argparse.REMAINDER, default=[], help="at the very end: KEY VALUE ...")


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add ``--output`` and ``--num-images``."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="an .html file, or a folder for report.html (default: OUTPUT_DIR of RUN)",
    )
    parser.add_argument(
        "--num-images",
        type=_number_of_images,
        default=24,
        metavar="N",
        help=f"pictures of so many images, 1 to {MOST_IMAGES} (default: %(default)s)",
    )


def _number_of_images(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_IMAGES:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {MOST_IMAGES}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    from ..d2.utils import setup_logger
    from ..report import read_run, write_report

    setup_logger(name="d2_psformer")
    runs = [args.run, args.compare] if args.compare else [args.run]
    cfgs = [read_run(one, args.opts, args.data) for one in runs]
    table, path = write_report(cfgs, args.output, num_images=args.num_images)
    sys.stdout.write(f"{table}\n\nThe report is {path}: open it in a browser.\n")

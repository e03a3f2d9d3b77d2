#!/usr/bin/env python
"""Report on a trained model: figures, curves, and predictions beside the ground truth."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import report_user_errors

EPILOG = """
Examples:
  after training the demo      tools/report.py --config-file configs/scenes/demo.yaml
  another checkpoint           tools/report.py --config-file FILE MODEL.WEIGHTS output/model.pth

Written to --output: report.md (PQ, mIoU or AP, measured now), curves.png (if OUTPUT_DIR holds
the metrics.json of a training), contact_sheet.png, and pictures/*.png (image, ground truth,
prediction).
Any data set with panoptic, semantic or instance ground truth will do.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: OUTPUT_DIR)"
    )
    parser.add_argument(
        "--num-images", type=int, default=12, metavar="N", help="pictures (default: %(default)s)"
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )
    args = parser.parse_args(arguments)
    if args.num_images < 1:
        parser.error(f"--num-images is {args.num_images}: give 1 or more")
    return args


# Imports are late so that --help and wrong arguments are answered at once.
@report_user_errors()
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    from d2_psformer.d2.utils import setup_logger
    from d2_psformer.engine import load_config
    from d2_psformer.engine.report import write_report

    setup_logger(name="d2_psformer")
    cfg = load_config(args.config_file, args.opts)
    table, folder = write_report(cfg, args.output, num_images=args.num_images)
    print(f"{table}\n\nPictures are in {folder}: start with contact_sheet.png or report.md")


if __name__ == "__main__":
    main()

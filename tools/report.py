#!/usr/bin/env python
"""Write a page of figures and pictures on a trained model: the same as `psformer report`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.cli import report
from d2_psformer.utils.commands import report_user_errors

EPILOG = """
Examples:
  after training the demo      tools/report.py --config-file configs/scenes/demo.yaml
  another checkpoint           tools/report.py --config-file FILE MODEL.WEIGHTS output/model.pth

`psformer report --help` says more, and compares two trainings.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", required=True, dest="run", metavar="FILE", help="config of the model"
    )
    report.add_page(parser)
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )
    parser.set_defaults(compare=None, data=None)
    return parser.parse_args(arguments)


@report_user_errors()
def main(arguments: list[str] | None = None) -> None:
    report.run(parse_args(arguments))


if __name__ == "__main__":
    main()

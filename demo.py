#!/usr/bin/env python
"""``psformer predict`` under the name that users of Detectron2 know."""

import sys

from d2_psformer.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("predict", sys.argv[1:], prog="demo.py"))

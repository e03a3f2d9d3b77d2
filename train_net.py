#!/usr/bin/env python
"""``psformer train`` under the name that users of Detectron2 know."""

import sys

from d2_psformer.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("train", sys.argv[1:], prog="train_net.py"))

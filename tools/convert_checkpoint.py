#!/usr/bin/env python
"""``psformer convert-weights`` from a checkout that is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from d2_psformer.cli.main import run_command

if __name__ == "__main__":
    sys.exit(run_command("convert-weights", sys.argv[1:], prog="convert_checkpoint.py"))

"""Every command answers --help and wrong arguments without importing torch, from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "train_net.py": "torchrun",
    "demo.py": "MODEL.WEIGHTS",
    "tools/report.py": "--num-images",
    "tools/convert_checkpoint.py": "--trust",
    "datasets/generate_scenes.py": "hard",
    "datasets/prepare_ade20k_panoptic.py": "Examples:",
    "datasets/prepare_cityscapes_panoptic.py": "--root",
    "d2_psformer": "convert-weights",
    "d2_psformer train": "torchrun",
    "d2_psformer predict": "--attention",
    "d2_psformer evaluate": "--gt_json_file",
    "d2_psformer check": "--panoptic-json",
    "d2_psformer convert-data": "labelme",
    "d2_psformer convert-weights": "--trust",
    "d2_psformer export": "--int8",
    "d2_psformer report": "--compare",
    "d2_psformer models": "mask2former",
}
HEAVY = "('torch', 'numpy', 'cv2', 'timm', 'scipy', 'matplotlib', 'detectron2')"
CODE = f"""
import runpy, sys
command, *sys.argv[1:] = sys.argv[1:]
try:
    if command.endswith(".py"):
        runpy.run_path(command, run_name="__main__")
    else:
        runpy.run_module(command, run_name="__main__")
finally:
    sys.stdout.write(f"HEAVY: {{[name for name in {HEAVY} if name in sys.modules]}}")
"""


@pytest.mark.parametrize("command", SCRIPTS)
def test_help_and_wrong_arguments_need_no_torch(command, tmp_path):
    name, *subcommand = command.split()
    path = str(ROOT / name) if name.endswith(".py") else name
    for argument, status in (("--help", 0), ("--no-such-option", 2)):
        done = subprocess.run(
            [sys.executable, "-c", CODE, path, *subcommand, argument],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert done.stdout.endswith("HEAVY: []")
        assert SCRIPTS[command] in done.stdout or argument != "--help"

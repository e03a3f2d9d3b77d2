"""Importing the package costs nothing; its attributes import what they need."""

import subprocess
import sys
from pathlib import Path

import d2_psformer

ROOT = Path(__file__).parents[2]


def test_the_package_imports_no_heavy_package():
    code = "import sys, d2_psformer; dir(d2_psformer); sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert not {"torch", "numpy", "PIL", "timm", "cv2"} & set(done.stdout.decode().split())


def test_loading_a_model_imports_nothing_of_training():
    code = (
        "import sys, d2_psformer.api; d2_psformer.load('scenes/demo');"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    imported = set(done.stdout.decode().split())
    assert "timm" in imported
    assert not {"scipy", "matplotlib", "tensorboard", "transformers"} & imported


def test_attributes():
    assert set(d2_psformer.__all__) <= set(dir(d2_psformer))
    for name in d2_psformer.__all__:
        assert callable(getattr(d2_psformer, name))
    assert not hasattr(d2_psformer, "unload")
    assert (ROOT / "d2_psformer" / "py.typed").is_file()

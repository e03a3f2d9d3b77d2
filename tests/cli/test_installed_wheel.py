"""A wheel, installed outside of the repository: commands, configs and the weights of the demo."""

import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from d2_psformer.data.scenes import ScenesSpec, write_scenes

ROOT = Path(__file__).parents[2]
SHORT = ("SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "0")
pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)],
        env={**environment, "D2_PSFORMER_NO_EXT": "1", "OMP_NUM_THREADS": "1"},
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def psformer(tmp_path_factory):
    """Runs the console script of a fresh environment with the packages of this one; no network."""
    if not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")):
        pytest.skip("pip or setuptools is not installed")
    folder = tmp_path_factory.mktemp("installed")
    source, environment = folder / "source", folder / "environment"
    skipped = shutil.ignore_patterns("__pycache__", "lib")
    for name in ("d2_psformer", "configs", "demo"):
        shutil.copytree(ROOT / name, source / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--no-index")
    call(*pip, "wheel", *options, "-w", folder, source, cwd=folder)
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    where = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    # A path in a .pth file adds the packages without the editable install that may be there.
    Path(where.strip(), "packages.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    (wheel,) = folder.glob("*.whl")
    call(*pip, "--python", python, "install", *options, wheel, cwd=folder)
    shutil.rmtree(source)
    return lambda *arguments: call(environment / "bin" / "psformer", *arguments, cwd=folder), folder


def test_everything_by_names(psformer):
    run, folder = psformer
    assert run("--version").startswith("psformer 0.")
    assert "coco/psformer_R50_2x" in run("models")
    assert "8 of 8 files done" in run("predict", "--output", "scenes")
    assert json.loads((folder / "scenes" / "scene_1_segments.json").read_text())["segments_info"]

    write_scenes(folder / "raw", ScenesSpec(train=4, val=2, size=64))
    for split in ("train", "val"):
        files = ("coco-panoptic", f"raw/panoptic_{split}.json", "mine")
        run("convert-data", *files, "--images", f"raw/{split}", "--split", split, "--workers", "0")
    assert "mine_train: 4 images, 0 errors" in run("check", "--data", "mine", "--workers", "0")

    model = ("--config", "scenes/demo", "--data", "mine")
    run("train", *model, *SHORT, "OUTPUT_DIR", "run")
    assert (folder / "run" / "model_final.pth").is_file()
    run("evaluate", "--config", "run/model_final.pth")
    assert "PQ" in run("report", "run", "--num-images", "1")
    run("convert-weights", "--source", "ours", "run/model_final.pth", "ours.pth")
    run("predict", "raw/val", "--model", "run", "--output", "pictures")
    run("predict", "raw/val", "--model", "scenes/demo", "--weights", "ours.pth", "--output", "two")
    assert json.loads((folder / "pictures" / "panoptic.json").read_text())["annotations"]

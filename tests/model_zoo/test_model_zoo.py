"""Configs by name, from a checkout and from an installed wheel."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from d2_psformer.engine import load_config
from d2_psformer.model_zoo import get_config_file, list_configs
from d2_psformer.utils.errors import UserError

ROOT = Path(__file__).parents[2]
NAME = "coco/psformer_R50_2x"
NO_KERNELS = {**os.environ, "D2_PSFORMER_NO_EXT": "1"}
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def test_names_are_those_of_the_models():
    names = list_configs()
    assert NAME in names and "scenes/demo" in names
    assert not [name for name in names if "Base-" in name or name.startswith("_")]
    assert all(Path(get_config_file(name)).is_file() for name in names)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.yaml"])
def test_a_name_gives_the_file_with_or_without_its_ending(name):
    assert Path(get_config_file(name)) == ROOT / "configs" / f"{NAME}.yaml"


@pytest.mark.parametrize(
    "name", ["psformer_R50_2x", "coco/psformer_r50_2x", "configs/coco/psformer_R50_2x.yaml"]
)
def test_an_unknown_name_is_refused_with_near_ones(name):
    with pytest.raises(UserError, match=rf"'{name}' does not exist: .*{NAME}"):
        get_config_file(name)


@pytest.mark.parametrize("name", ["", "nowhere.yaml", "../configs/scenes/demo", "_base_/psformer"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UserError, match=f"'{name}' does not exist"):
        get_config_file(name)


def test_load_config_takes_a_name_or_a_file(tmp_path, monkeypatch):
    assert load_config(NAME) == load_config(str(ROOT / "configs" / f"{NAME}.yaml"))
    monkeypatch.chdir(tmp_path)
    Path("coco").mkdir()
    Path(f"{NAME}.yaml").write_text("SEED: 5")
    assert load_config(f"{NAME}.yaml").SEED == 5, "a file comes before a name"


def test_the_shipped_checkpoint_holds_the_config_of_its_name():
    path = str(ROOT / "demo" / "psformer_scenes.pth")
    stored, expected = load_config(path), load_config("scenes/demo")
    expected.MODEL.WEIGHTS = path
    assert yaml.safe_load(stored.dump()) == yaml.safe_load(expected.dump())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the project without its kernels, as others would have it."""
    if not all(importlib.util.find_spec(name) for name in ("pip", "setuptools")):
        pytest.skip("pip or setuptools is not installed")
    root = tmp_path_factory.mktemp("packaging") / "project"
    skipped = shutil.ignore_patterns("__pycache__", "csrc", "lib")
    for folder in ("d2_psformer", "configs", "demo"):
        shutil.copytree(ROOT / folder, root / folder, ignore=skipped)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, root)
    return root


def call(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=NO_KERNELS | environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_wheel_of_the_source_archive_brings_every_config(source, tmp_path):
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    call(sys.executable, "-c", code, cwd=source)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    # What an earlier version has left in build/ must not get into the wheel.
    stale = unpacked / "build" / "lib" / "d2_psformer" / "model_zoo" / "configs" / "coco"
    stale.mkdir(parents=True)
    (stale / "old.yaml").write_text("")

    target = tmp_path / "target"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--target", str(target))
    call(*PIP, "install", *options, str(unpacked), cwd=tmp_path)
    code = (
        "from d2_psformer.model_zoo import get_config_file, list_configs\n"
        f"print(get_config_file('{NAME}'), *list_configs())"
    )
    path, *names = call(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(target)).split()
    copy = target / "d2_psformer" / "model_zoo" / "configs"
    assert Path(path) == copy / f"{NAME}.yaml"
    assert names == list_configs()
    originals = ROOT / "configs"
    for file in originals.rglob("*.yaml"):  # those of _BASE_ too
        assert (copy / file.relative_to(originals)).read_bytes() == file.read_bytes()
    assert (copy.parent / "demo" / "psformer_scenes.pth").is_file()


def test_an_editable_install_copies_nothing(source, tmp_path):
    code = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    call(sys.executable, "-c", code, cwd=source)
    assert not (source / "d2_psformer" / "model_zoo" / "configs").exists()

"""Installs never fail for want of a compiler, need no torch, and leave a record."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tiny_sources import failing_compiler, write_sources

ROOT = Path(__file__).parents[2]
OPS = Path("d2_psformer", "ops")
HOOKS = "import sys; sys.modules['torch'] = None; from setuptools import build_meta as hooks; "
HAS_COMPILER = any(shutil.which(name) for name in ("g++", "c++", "clang++"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="no setuptools here"
)


@pytest.fixture
def copy(tmp_path):
    """The project with kernels that compile in a moment."""
    root = tmp_path / "project"
    left_out = shutil.ignore_patterns("__pycache__", "lib", "csrc")
    shutil.copytree(ROOT / "d2_psformer", root / "d2_psformer", ignore=left_out)
    for folder in ("configs", "demo"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root)
    write_sources(root / OPS / "csrc")
    return root


def run(root: Path, hook: str, **environment: str) -> Path:
    """Call a hook as pip does, where torch cannot be imported; returns the archive."""
    wheels = root.parent / "wheels"
    known = {k: v for k, v in os.environ.items() if k not in ("CXX", "PYTHONPATH")}
    done = subprocess.run(
        [sys.executable, "-c", f"{HOOKS} hooks.{hook}({str(wheels)!r})"],
        cwd=root,
        env=known | environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = wheels.iterdir()
    return made


def contents(wheel: Path) -> tuple[set[str], dict]:
    """Names below ops, and the build record."""
    with zipfile.ZipFile(wheel) as archive:
        below = {n.removeprefix(f"{OPS.as_posix()}/") for n in archive.namelist()}
        return below, json.loads(archive.read((OPS / "lib" / "build_record.json").as_posix()))


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler here")
def test_a_wheel_brings_the_library_its_sources_and_the_record(copy):
    wheel = run(copy, "build_wheel")
    names, record = contents(wheel)
    assert {"lib/libpsformer_cpu.so", "csrc/cpu_kernel.cpp", "csrc/cuda_kernel.cu"} <= names
    assert record["cpu"]["built"] and record["cpu"]["flags"]
    assert "-py3-none-" in wheel.name and platform.machine().lower() in wheel.name


def test_no_ext_compiles_nothing(copy):
    names, record = contents(run(copy, "build_wheel", D2_PSFORMER_NO_EXT="1"))
    assert not [name for name in names if name.endswith(".so")]
    assert record["cpu"]["reason"] == "D2_PSFORMER_NO_EXT=1 was set at the install."


@pytest.mark.parametrize("compiler", ["none", "failing"])
def test_without_a_compiler_that_works_the_package_is_installed_all_the_same(
    copy, tmp_path, compiler
):
    chosen = {"PATH": ""} if compiler == "none" else {"CXX": str(failing_compiler(tmp_path))}
    names, record = contents(run(copy, "build_wheel", **chosen))
    assert {"__init__.py", "reference.py", "csrc/cpu_kernel.cpp"} <= names
    assert not record["cpu"]["built"]
    expected = "No C++ compiler" if compiler == "none" else "this is no C++"
    assert expected in record["cpu"]["reason"]


def test_cuda_that_is_forced_and_fails_is_recorded(copy, tmp_path):
    broken = failing_compiler(tmp_path / "cuda" / "bin")
    broken.rename(broken.with_name("nvcc"))
    chosen = {"FORCE_CUDA": "1", "CUDA_HOME": str(tmp_path / "cuda"), "D2_PSFORMER_NO_EXT": "0"}
    _, record = contents(run(copy, "build_wheel", TORCH_CUDA_ARCH_LIST="9.0", **chosen))
    assert "nvcc ended with status 3" in record["cuda"]["reason"]


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler here")
def test_an_editable_install_compiles_beside_the_sources(copy):
    run(copy, "build_editable")
    library = copy / OPS / "lib"
    assert (library / "libpsformer_cpu.so").is_file()
    assert json.loads((library / "build_record.json").read_text())["cpu"]["built"]


def test_a_source_archive_brings_the_sources_and_nothing_that_was_compiled(copy):
    (copy / OPS / "lib").mkdir()
    (copy / OPS / "lib" / "build_record.json").write_text("{}")
    with tarfile.open(run(copy, "build_sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", f"{OPS}/csrc/cpu_kernel.cpp", f"{OPS}/csrc/cuda_kernel.cu"} <= names
    assert not [name for name in names if name.startswith(f"{OPS}/lib/")]

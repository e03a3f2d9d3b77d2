"""Installs the package with its configs and weights, and compiles its kernels where possible.

A missing compiler never makes an install fail. D2_PSFORMER_NO_EXT=1 compiles nothing; FORCE_CUDA=1
compiles the CUDA kernels on a machine without a GPU too. ``python -m d2_psformer.ops`` shows what
was built, what was left out, and why.
"""

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent.resolve()
OPS = Path("d2_psformer", "ops")
MODEL_ZOO = Path("d2_psformer", "model_zoo")


def load_build() -> ModuleType:
    """Import d2_psformer/ops/build.py without the package around it, which needs torch."""
    package = ModuleType("_ops_of_d2_psformer")
    package.__path__ = [str(ROOT / OPS)]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.build")


class BuildPackage(build_py):
    """Copies the package, configs/ and demo/, and compiles the kernels into the copy.

    An editable install compiles beside the sources and reads the two folders where they are.
    """

    def run(self) -> None:
        super().run()
        root = ROOT if self.editable_mode else Path(self.build_lib)
        if not self.editable_mode:
            for folder in ("configs", "demo"):
                copy = root / MODEL_ZOO / folder
                shutil.rmtree(copy, ignore_errors=True)  # of an earlier build
                shutil.copytree(ROOT / folder, copy)
        try:
            record = load_build().build_at_install(root / OPS / "lib")
        except OSError as error:
            self.warn(f"no kernels of d2_psformer.ops were compiled: {error}")
            return
        for name, entry in record.items():
            self.announce(f"d2_psformer.ops, {name}: {entry['reason'] or 'compiled'}", level=2)


class PlatformDistribution(Distribution):
    """A distribution that depends on the platform, though it has no extension modules."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for any Python version of this platform: the kernels do not use Python's headers."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_py": BuildPackage, "bdist_wheel": PlatformWheel},
    distclass=PlatformDistribution,
)

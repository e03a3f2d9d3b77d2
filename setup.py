"""Installs the package, with its kernels compiled where they can be; never fails for want of them.

D2_PSFORMER_NO_EXT=1 compiles nothing, FORCE_CUDA=1 the CUDA kernels where no GPU is seen too. What
was built or left out, and why: ``python -m d2_psformer.ops``.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

OPS = Path("d2_psformer", "ops")


def load_build() -> ModuleType:
    """d2_psformer/ops/build.py without the package around it, which needs torch."""
    package = ModuleType("_ops_of_d2_psformer")
    package.__path__ = [str(Path(__file__).parent.resolve() / OPS)]
    sys.modules[package.__name__] = package
    return importlib.import_module(f"{package.__name__}.build")


class BuildWithKernels(build_py):
    """Copies the package, then compiles the kernels into it (editable: beside the sources)."""

    def run(self) -> None:
        super().run()
        root = Path(__file__).parent if self.editable_mode else Path(self.build_lib)
        try:
            record = load_build().build_at_install(root / OPS / "lib")
        except OSError as error:
            self.warn(f"no kernels of d2_psformer.ops were compiled: {error}")
            return
        for name, entry in record.items():
            self.announce(f"d2_psformer.ops, {name}: {entry['reason'] or 'compiled'}", level=2)


class PlatformDistribution(Distribution):
    """Not pure Python, though there are no extension modules."""

    def has_ext_modules(self) -> bool:
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for any Python of this platform: the kernels know nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
    distclass=PlatformDistribution,
)

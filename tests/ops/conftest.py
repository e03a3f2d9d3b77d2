"""The compiled CPU library for the tests of its kernels."""

import pytest

from d2_psformer.ops import build, cpu_kernel


@pytest.fixture(scope="module")
def cpu_library():
    """Built where it is missing; without a compiler the tests that use it are skipped."""
    if build.library_path("cpu") is None:
        build.build(["cpu"])
    reason = cpu_kernel.unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(params=cpu_kernel.ISAS)
def isa(request, monkeypatch, cpu_library):
    """Every instruction set that this processor has."""
    monkeypatch.setenv(cpu_kernel.ISA_VARIABLE, request.param)
    if cpu_kernel.isa_in_use() is None:
        pytest.skip(f"This processor lacks {request.param}.")

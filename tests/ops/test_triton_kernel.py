"""The Triton kernels: in the interpreter, through Triton's compiler without a GPU, and on a GPU."""

import inspect
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_cases import check, make_inputs

from d2_psformer.ops import triton_kernel

triton = pytest.importorskip("triton")


def test_in_the_interpreter():
    cases = Path(__file__).parent / "interpreted_triton.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", str(cases)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize(("name", "components"), [("forward", 2), ("backward", 4)])
def test_compiles_for_a_gpu(name, components, tmp_path, monkeypatch):
    """The interpreter is more lenient than the compiler, which needs no GPU either."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if "constexprs" not in inspect.signature(ASTSource).parameters:
        pytest.skip("this triton compiles through another interface")
    from d2_psformer.ops import triton_code

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_code, f"{name}_kernel")
    inputs = make_inputs(components, channels=32, dtype=torch.bfloat16)
    sizes, _ = triton_kernel._sizes_and_grid(inputs)
    halves = ("value", "out", "grad_out", "sampling", "attention", "grad_sampling")
    types = dict.fromkeys((*halves, "grad_attention"), "*bf16")
    types |= {"reference": "*fp32", "sums": "*fp32", "levels": "*i32"}
    types |= dict.fromkeys(sizes, "constexpr")
    signature = {argument: types.get(argument, "i32") for argument in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=sizes)
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]


def test_cpu_tensors_are_refused_outside_of_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "cpu" in triton_kernel.supports(make_inputs())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 4e-2)],
)
def test_on_a_gpu(dtype, tolerance):
    for components, channels, points in itertools.product((0, 2, 4), (32, 5), (4, 3)):
        inputs = make_inputs(components, channels, points, dtype=dtype, device="cuda")
        check(triton_kernel, inputs, tolerance)

"""The Triton kernels in Triton's interpreter; run by test_triton_kernel.py in its own process,
since TRITON_INTERPRET=1 must be set before triton is imported for the first time."""

import pytest
import torch
from kernel_cases import border_inputs, check, make_inputs
from wild_cases import check_wild

from d2_psformer.ops import triton_kernel
from d2_psformer.ops.inputs import Inputs

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy, of NaN locations
SMALL = {"shapes": [(3, 4), (1, 1)], "heads": 2, "queries": 3}


def test_is_available():
    assert triton_kernel.unavailable() is None
    assert triton_kernel.supports(make_inputs()) is None


@pytest.mark.parametrize(("components", "channels", "points"), [(0, 5, 3), (2, 4, 2), (4, 3, 1)])
def test_equals_the_reference(components, channels, points):
    check(triton_kernel, make_inputs(components, channels, points, **SMALL))


@pytest.mark.parametrize(
    ("components", "dtype", "tolerance"), [(0, torch.float16, 4e-3), (4, torch.bfloat16, 3e-2)]
)
def test_half(components, dtype, tolerance):
    check(triton_kernel, make_inputs(components, 4, 1, dtype=dtype, **SMALL), tolerance)


def test_half_values_with_float_sampling():
    inputs = make_inputs(2, 4, 1, **SMALL)
    check(triton_kernel, inputs._replace(value=inputs.value.half()), 2e-3)


def test_several_blocks_of_queries(monkeypatch):
    monkeypatch.setattr(triton_kernel, "TILE", 8)  # 2 of the 3 queries in the first block
    check(triton_kernel, make_inputs(2, 4, 1, **SMALL))


@pytest.mark.parametrize("batch", [0, 2])
def test_nothing_to_do(batch):
    value, shapes, sampling, attention, _ = make_inputs(0, 4, 2, **SMALL | {"queries": 0})
    inputs = Inputs(value[:batch], shapes, sampling[:batch], attention[:batch], None)
    assert triton_kernel.forward(inputs).shape == (batch, 0, 8)
    grad_value, *_ = triton_kernel.backward(torch.zeros(batch, 0, 8), inputs)
    assert grad_value.shape == value[:batch].shape and not grad_value.any()


def test_border_pixel_does_not_leak_through_zero_weight():
    inputs = border_inputs()
    assert not triton_kernel.forward(inputs).any()
    grad_value, _, grad_attention = triton_kernel.backward(torch.ones(1, 1, 4), inputs)
    assert grad_attention.item() == 0
    torch.testing.assert_close(grad_value[0, :, 0, 0], torch.eye(6)[4])


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_wild_numbers(seed):
    check_wild(triton_kernel, seed)


def test_it_says_what_it_does_not_serve():
    assert "float64" in triton_kernel.supports(make_inputs(dtype=torch.float64))
    assert "17" in triton_kernel.supports(make_inputs(points=17))
    torch.use_deterministic_algorithms(True)
    try:
        assert "deterministic" in triton_kernel.supports(make_inputs())
    finally:
        torch.use_deterministic_algorithms(False)

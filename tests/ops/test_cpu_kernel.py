"""The compiled CPU kernel against the grid_sample formulation in float64."""

import pytest
import torch

from d2_psformer.ops import cpu_kernel, reference
from d2_psformer.ops.inputs import Inputs

pytestmark = pytest.mark.usefixtures("cpu_library")

NAN, INF = float("nan"), float("inf")
SHAPES = [(9, 7), (1, 1), (4, 5), (1, 6)]
# Relative to the largest number: one rounding of the type, and sums of a few dozen products.
TOLERANCE = {
    torch.float32: 2e-5,
    torch.float64: 1e-12,
    torch.bfloat16: 8e-3,
    torch.float16: 1e-3,
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def inputs(
    shapes=SHAPES, batch=2, queries=50, heads=3, channels=32, points=4, size=0, dtype=torch.float32
):
    """value, shapes, sampling, attention, reference. Sampling and attention are slices of one
    tensor, as of one projection, and so are the values."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    length, levels = sum(h * w for h, w in shapes), len(shapes)
    numbers = heads * levels * points
    value = torch.randn(batch, length + 2, heads, channels).to(dtype)[:, 1:-1]
    merged = torch.randn(batch, queries, 3 * numbers + 5, dtype=wide)
    sampling = merged[..., : 2 * numbers].view(batch, queries, heads, levels, points, 2)
    attention = merged[..., 2 * numbers : 3 * numbers].view(batch, queries, heads, levels, points)
    if size:
        boxes = torch.rand(batch, queries, levels, size).to(wide)
        return Inputs(value, shapes, sampling * 2, attention, boxes)
    return Inputs(value, shapes, sampling * 0.6 + 0.5, attention, None)


def in_float64(arguments):
    return Inputs(*(x.double() if isinstance(x, torch.Tensor) else x for x in arguments))


def assert_close(actual, expected, dtype):
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def assert_equals_reference(arguments):
    dtype = arguments[0].dtype
    output = cpu_kernel.forward(arguments)
    assert output.dtype == dtype
    assert_close(output, reference.forward(in_float64(arguments)), dtype)
    grad = torch.randn(output.shape).to(dtype)
    grads = cpu_kernel.backward(grad, arguments)
    expected = reference.backward(grad.double(), in_float64(arguments))
    for actual, wanted, source in zip(
        grads, expected, [arguments[i] for i in (0, 2, 3)], strict=True
    ):
        assert actual.dtype == source.dtype and actual.is_contiguous()
        assert_close(actual, wanted, dtype)


@pytest.mark.parametrize("size", [0, 2, 4])
@pytest.mark.parametrize("channels", [16, 32, 64, 5])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_equals_reference(isa, dtype, channels, size):
    torch.manual_seed(0)
    assert_equals_reference(inputs(channels=channels, size=size, dtype=dtype))


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("points", [1, 3])
def test_few_queries_read_the_values_in_place(isa, dtype, points):
    torch.manual_seed(0)
    assert_equals_reference(inputs([(40, 30), (7, 9)], queries=2, points=points, dtype=dtype))


@pytest.mark.parametrize(
    "change",
    [
        {"shapes": [(3, 4)] * 16, "points": 16, "channels": 16, "queries": 9},
        {"shapes": [(1, 1)], "points": 1, "channels": 1, "heads": 1},
        {"shapes": [(1, 9), (9, 1)], "channels": 33},
        {"shapes": [(20, 37), (5, 8)], "queries": 20 * 37 + 5 * 8, "heads": 2},  # an encoder
    ],
)
@pytest.mark.parametrize("size", [0, 2])
def test_unusual_sizes(isa, change, size):
    torch.manual_seed(0)
    assert_equals_reference(inputs(**change, size=size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_offsets_and_logits_may_be_of_half_type(isa, dtype):
    torch.manual_seed(0)
    given = inputs(size=2, dtype=dtype)
    halves = {name: getattr(given, name).to(dtype) for name in ("sampling", "attention")}
    assert_equals_reference(given._replace(**halves))


@pytest.mark.parametrize("scale", [50.0, 1000.0])
def test_softmax_of_large_logits(isa, scale):
    torch.manual_seed(0)
    given = inputs(size=2)
    given.attention.mul_(scale)[0, 0, 0, 0, 0] = -INF  # a masked point
    expected = reference.forward(in_float64(given))
    assert_close(cpu_kernel.forward(given), expected, torch.float32)


@pytest.mark.parametrize("queries", [60, 1])
def test_points_beyond_the_map_give_nothing(isa, queries):
    """Also where the output's gradient is infinite."""
    arguments = inputs(queries=queries, batch=1)
    far = torch.tensor([NAN, INF, -INF, 1e30, -1e30, 3.0, -2.0])
    x = arguments.sampling[..., 0]
    x.copy_(far[torch.arange(x.numel()) % 7].view(x.shape))
    output = cpu_kernel.forward(arguments)
    assert torch.equal(output, torch.zeros_like(output))
    for grad in cpu_kernel.backward(output + INF, arguments)[1:]:
        assert torch.equal(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("queries", [60, 1])
@pytest.mark.parametrize("bad", [NAN, INF])
def test_nothing_leaks_through_a_zero_weight(isa, bad, queries):
    """A point on the centre of a pixel does not read its neighbours."""
    value = torch.ones(1, 25, 1, 32)
    value.view(5, 5, 32)[:, [1, 3]] = bad
    value.view(5, 5, 32)[[1, 3]] = bad
    centre = torch.full((1, queries, 1, 1, 1, 2), 0.5)
    arguments = Inputs(value, [(5, 5)], centre, torch.ones(1, queries, 1, 1, 1), None)
    output = cpu_kernel.forward(arguments)
    assert torch.equal(output, torch.ones_like(output))
    grad_value, _, grad_attention = cpu_kernel.backward(torch.ones_like(output), arguments)
    assert grad_value.isfinite().all()
    assert torch.equal(grad_attention, torch.full_like(grad_attention, 32))


def test_the_gradient_on_a_pixel_centre_sees_the_next_pixel(isa):
    """The derivative from the right, as grid_sample's; initial offsets lie on centres."""
    value = torch.arange(25.0).view(1, 25, 1, 1).expand(1, 25, 1, 16).contiguous()
    centre = torch.full((1, 40, 1, 1, 1, 2), 0.5)
    arguments = Inputs(value, [(5, 5)], centre, torch.ones(1, 40, 1, 1, 1), None)
    grads = cpu_kernel.backward(torch.ones(1, 40, 16), arguments)
    expected = reference.backward(torch.ones(1, 40, 16).double(), in_float64(arguments))
    torch.testing.assert_close(grads[1].double(), expected[1])


@pytest.mark.parametrize("size", [0, 2, 4])
def test_numerical_gradients(size):
    torch.manual_seed(0)
    arguments = inputs([(5, 4), (2, 3)], 1, 3, 2, 3, 2, size, torch.float64)
    grad = torch.randn(1, 3, 6, dtype=torch.float64)
    grads = dict(zip((0, 2, 3), cpu_kernel.backward(grad, arguments), strict=True))
    for place, found in grads.items():
        direction, step = torch.randn(found.shape, dtype=torch.float64), 1e-7
        ends = []
        for sign in (1, -1):
            moved = list(arguments)
            moved[place] = moved[place] + sign * step * direction
            ends.append((cpu_kernel.forward(Inputs(*moved)) * grad).sum())
        numerical = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close((found * direction).sum(), numerical, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_with_any_number_of_threads(threads, dtype, size):
    torch.manual_seed(0)
    arguments = inputs(queries=301, heads=4, batch=1, size=size, dtype=dtype)
    grad = torch.randn(1, 301, 128).to(dtype)
    results = []
    for number in (1, 2, 3, 7, 3, 3, 3):
        threads(number)
        results.append([cpu_kernel.forward(arguments), *cpu_kernel.backward(grad, arguments)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0)])
def test_empty(batch, queries):
    arguments = inputs(batch=batch, queries=queries)
    output = cpu_kernel.forward(arguments)
    assert output.shape == (batch, queries, 96)
    grads = cpu_kernel.backward(output, arguments)
    for grad, source in zip(grads, [arguments[i] for i in (0, 2, 3)], strict=True):
        assert torch.equal(grad, torch.zeros_like(source))


def test_layouts_that_the_kernel_does_not_follow(isa):
    given = inputs(size=4)
    exchanged = {"value": (2, 3), "sampling": (2, 4), "attention": (1, 4), "reference": (1, 2)}
    strided = {
        name: getattr(given, name).transpose(*dims).contiguous().transpose(*dims)
        for name, dims in exchanged.items()
    }
    assert torch.equal(cpu_kernel.forward(given), cpu_kernel.forward(given._replace(**strided)))


def test_says_what_it_does_not_serve():
    assert "16 points" in cpu_kernel.supports(inputs(points=17))
    assert cpu_kernel.supports(inputs()) is None


def test_an_unknown_instruction_set_is_named(monkeypatch):
    monkeypatch.setenv(cpu_kernel.ISA_VARIABLE, "avx1024")
    with pytest.raises(RuntimeError, match="avx1024"):
        cpu_kernel.forward(inputs())

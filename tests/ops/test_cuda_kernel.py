"""The CUDA kernels without a GPU: their device code on the host, and nvcc's opinion."""

import contextlib
import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kernel_cases import border_inputs, check, in_double, make_inputs
from wild_cases import check_wild

from d2_psformer.ops import build, compilers, cuda_kernel, library, reference
from d2_psformer.ops.inputs import Inputs


@pytest.fixture(scope="session")
def host_library(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("no g++ for the device code on the host")
    path = tmp_path_factory.mktemp("cuda_on_host") / "library.so"
    source = Path(__file__).parent / "cuda_on_host.cpp"
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", f"-I{compilers.SOURCES}"]
    subprocess.run(["g++", *flags, str(source), "-o", str(path)], check=True)
    library = ctypes.CDLL(str(path))
    library.problem_bytes.restype = ctypes.c_int64
    return library


@pytest.fixture(params=[1, 4], ids=["one lane", "four lanes"])
def on_host(request, host_library, monkeypatch):
    """The binding works on CPU tensors, by the device code on the host."""

    def call(name, problem, device):
        host_library.run_on_host(ctypes.byref(problem), request.param, name == "backward")

    monkeypatch.setattr(cuda_kernel, "_call", call)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("components", [0, 2, 4])
@pytest.mark.parametrize(("channels", "points"), [(8, 4), (20, 3), (5, 4), (1, 1)], ids=str)
def test_equals_the_reference(on_host, components, channels, points):
    check(cuda_kernel, make_inputs(components, channels, points))


@pytest.mark.parametrize("components", [0, 2, 4])
def test_double(on_host, components):
    inputs = make_inputs(components, channels=6)
    check(cuda_kernel, in_double(inputs), 1e-12)


@pytest.mark.parametrize("components", [0, 4])
def test_half(on_host, components):
    inputs = make_inputs(components, channels=16, dtype=torch.float16)
    check(cuda_kernel, inputs, 4e-3)


def test_half_values_with_float_sampling(on_host):
    inputs = make_inputs(2, channels=16)
    check(cuda_kernel, inputs._replace(value=inputs.value.half()), 2e-3)


@pytest.mark.parametrize("components", [0, 2])
def test_deterministic_backward(on_host, deterministic, components):
    check(cuda_kernel, make_inputs(components, channels=8))


def test_sum_that_is_not_finite_is_nan(on_host, deterministic):
    inputs = make_inputs(2)
    grad = torch.ones(2, 5, 24)
    grad[0, 0, 0] = float("inf")
    assert cuda_kernel.backward(grad, inputs)[0].isnan().all()


def test_tiny_and_huge_gradients_survive_the_fixed_point(on_host, deterministic):
    inputs = make_inputs(2)
    for scale in (1e-30, 1e30):
        grad = torch.full((2, 5, 24), scale)
        found, expected = (f(grad, inputs)[0] for f in (cuda_kernel.backward, reference.backward))
        torch.testing.assert_close(found / scale, expected / scale)


def test_zero_gradient(on_host, deterministic):
    assert not cuda_kernel.backward(torch.zeros(2, 5, 24), make_inputs(0))[0].any()


@pytest.mark.parametrize("queries", [0, 1])
def test_few_queries(on_host, queries):
    check(cuda_kernel, make_inputs(2, queries=queries))


def test_empty_batch(on_host):
    value, shapes, sampling, attention, boxes = make_inputs(4)
    empty = Inputs(value[:0], shapes, sampling[:0], attention[:0], boxes[:0])
    assert cuda_kernel.forward(empty).shape == (0, 5, 24)
    assert cuda_kernel.backward(torch.zeros(0, 5, 24), empty)[0].shape == (0, 48, 3, 8)


def test_border_pixel_does_not_leak_through_zero_weight(on_host):
    inputs = border_inputs()
    assert not cuda_kernel.forward(inputs).any()
    grad_value, _, grad_attention = cuda_kernel.backward(torch.ones(1, 1, 4), inputs)
    assert grad_attention.item() == 0
    torch.testing.assert_close(grad_value[0, :, 0, 0], torch.eye(6)[4])


@pytest.mark.parametrize("seed", range(40))
def test_wild_numbers(on_host, seed):
    check_wild(cuda_kernel, seed)


def test_struct_has_the_size_that_the_library_expects(host_library):
    assert host_library.problem_bytes() == ctypes.sizeof(library.Problem)


def test_copies_only_what_is_strided_inside():
    inputs = make_inputs(2)
    assert all(x is y for x, y in zip(inputs, inputs.with_plain_rows(), strict=True))
    inside = inputs.value.transpose(2, 3)
    assert inputs._replace(value=inside).with_plain_rows().value.is_contiguous()


def test_limits_are_named(monkeypatch):
    monkeypatch.setattr(cuda_kernel, "_unfit_device", lambda index: None)
    assert cuda_kernel.supports(make_inputs()) is None
    reason = cuda_kernel.supports(make_inputs(points=17))
    assert "16 points" in reason and "17" in reason


def test_errors_of_cuda_are_raised_in_its_words(monkeypatch):
    monkeypatch.setattr(cuda_kernel, "_function", lambda name: lambda *_: b"out of memory")
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(cuda_stream=0))
    with pytest.raises(RuntimeError, match="out of memory"):
        cuda_kernel.forward(make_inputs())


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_says_why_it_is_unavailable():
    assert "CUDA" in cuda_kernel.unavailable()


def test_compiles_for_the_newest_gpu(tmp_path, monkeypatch):
    try:
        newest = compilers.cuda_recipe().targets[-1]
    except compilers.CannotBuildError as error:
        pytest.skip(str(error))
    number = newest.partition("_")[2]
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", f"{number[:-1]}.{number[-1]}")
    hurried = [*compilers.CUDA_FLAGS, "-Xcicc=-O0", "-Xptxas=-O0"]
    monkeypatch.setattr(compilers, "CUDA_FLAGS", hurried)
    entry = build.build(["cuda"], tmp_path)["cuda"]
    assert entry["built"], entry["reason"] + entry["output"]
    assert entry["targets"] == [f"sm_{number}"]
    monkeypatch.setattr(build, "library_path", lambda name: tmp_path / "libpsformer_cuda.so")
    library.load.cache_clear()
    assert library.why_unusable("cuda") is None  # loading needs no driver
    if not torch.cuda.is_available():
        assert cuda_kernel._function("check_device")(0)
    library.load.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("is_deterministic", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.float16, 4e-3), (torch.bfloat16, 4e-2)],
)
def test_on_a_gpu(request, dtype, tolerance, is_deterministic):
    if cuda_kernel.unavailable():
        pytest.skip(cuda_kernel.unavailable())
    if is_deterministic:
        request.getfixturevalue("deterministic")
    for components, channels, points in itertools.product((0, 2, 4), (32, 64, 20, 5), (4, 3)):
        inputs = make_inputs(components, channels, points, dtype=dtype, device="cuda")
        if dtype == torch.float64 and components:
            inputs = in_double(inputs)
        check(cuda_kernel, inputs, tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_deterministic_backward_repeats_bit_by_bit_on_a_gpu(deterministic):
    if cuda_kernel.unavailable():
        pytest.skip(cuda_kernel.unavailable())
    inputs = make_inputs(2, 32, queries=3000, device="cuda")
    grad = torch.randn(2, 3000, 96, device="cuda")
    first, *others = (cuda_kernel.backward(grad, inputs)[0] for _ in range(5))
    assert all(torch.equal(first, other) for other in others)

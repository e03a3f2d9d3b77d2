"""Which backend serves, the warning when it is not the fastest, and kernels that fail."""

import types
import warnings

import pytest
import torch
from attention_inputs import call, random_inputs

from d2_psformer.ops import backends, reference


class Kernel:
    """A backend that counts its calls and serves, refuses, or fails."""

    def __init__(self, missing=None, refusal=None, failure=None):
        self.missing, self.refusal, self.failure, self.calls = missing, refusal, failure, 0

    def unavailable(self):
        return self.missing

    def supports(self, inputs):
        return self.refusal

    def forward(self, inputs):
        self.calls += 1
        if self.failure:
            raise self.failure
        return reference.forward(inputs)


@pytest.fixture
def fresh(monkeypatch):
    """A process without warnings so far; install(name=Kernel) sets backends."""
    monkeypatch.setattr(backends, "_warned", set())
    backends.unavailable.cache_clear()

    def install(**kernels):
        modules = {"pytorch": reference, **kernels}
        monkeypatch.setattr(backends, "module", modules.__getitem__)
        return types.SimpleNamespace(**kernels)

    yield install
    backends.unavailable.cache_clear()


@pytest.fixture
def gpu_first(monkeypatch):
    """As if tensors of the CPU had two compiled backends, as those of a GPU have."""
    monkeypatch.setitem(backends.FOR_DEVICE, "cpu", ("cpu", "triton"))


def test_the_fastest_serves_in_silence(fresh, gpu_first):
    kernels = fresh(cpu=Kernel(), triton=Kernel())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(random_inputs())
    assert (kernels.cpu.calls, kernels.triton.calls) == (1, 0)


def test_the_next_serves_where_the_fastest_is_missing_and_that_is_said_once(fresh, gpu_first):
    kernels = fresh(cpu=Kernel(missing="It is Sunday. Wait until Monday."), triton=Kernel())
    with pytest.warns(UserWarning, match=r"on cpu .* 'triton'.*cpu: It is Sunday. Wait") as warned:
        call(random_inputs())
        call(random_inputs())
    assert len(warned) == 1
    assert kernels.triton.calls == 2


def test_the_next_serves_what_the_fastest_cannot_and_every_reason_is_said(fresh, gpu_first):
    kernels = fresh(cpu=Kernel(refusal="it hates float32."), triton=Kernel())
    with pytest.warns(UserWarning, match="it hates float32"):
        call(random_inputs())
    kernels.cpu.refusal = "it hates Mondays."
    with pytest.warns(UserWarning, match="it hates Mondays"):
        call(random_inputs())
    assert kernels.triton.calls == 2


def test_plain_pytorch_serves_when_nothing_else_can(fresh):
    inputs = random_inputs(components=2)
    inputs[0].requires_grad_()
    expected = call(inputs, "pytorch")
    (gradient,) = torch.autograd.grad(expected.sum(), inputs[0])
    for kernel in (Kernel(missing="It is Sunday."), Kernel(refusal="it hates this.")):
        backends.unavailable.cache_clear()
        fresh(cpu=kernel)
        with pytest.warns(UserWarning, match=r"'pytorch'.*`python -m d2_psformer.ops`"):
            output = call(inputs)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(torch.autograd.grad(output.sum(), inputs[0])[0], gradient)


def test_devices_without_kernels_are_served_in_silence(fresh):
    fresh()
    value, shapes, locations, weights, _ = random_inputs()
    meta = [x.to("meta") for x in (value, locations, weights)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = call((meta[0], shapes, *meta[1:], None))
    assert output.shape == (2, 5, 12)


def test_a_named_backend_that_is_missing_is_an_error_with_its_reason(fresh):
    fresh(cpu=Kernel(missing="It is Sunday. Wait until Monday."))
    with pytest.raises(RuntimeError, match=r"Backend 'cpu' .* It is Sunday. Wait until Monday."):
        call(random_inputs(), "cpu")


def test_a_named_backend_for_another_device_is_an_error(fresh):
    fresh(cuda=Kernel())
    with pytest.raises(RuntimeError, match="supports tensors on cuda, these are on cpu"):
        call(random_inputs(), "cuda")


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), ValueError("bad luck")])
def test_errors_of_a_kernel_are_never_swallowed(fresh, gpu_first, failure):
    kernels = fresh(cpu=Kernel(failure=failure), triton=Kernel())
    with pytest.raises(type(failure), match=str(failure)):
        call(random_inputs())
    assert kernels.triton.calls == 0

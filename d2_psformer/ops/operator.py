"""The operator ``torch.ops.d2_psformer.ms_deform_attn``: fake kernels, autograd and autocast.

Its arguments are those of every kernel: classic (``reference`` None: sampling = locations,
attention = weights) or fused (sampling = offsets, attention = logits). ``shapes`` is flat: h0, w0,
h1, w1, ... ``backend`` is a name, or "auto". The kernel is chosen when the operator runs, so that
a compiled or exported graph runs on any machine.
"""

import torch
from torch import Tensor

from . import backends
from .inputs import HALF, Inputs, check_inputs
from .reference import fused_gradients, locations_of, weights_of

INPUTS = (
    "Tensor value, SymInt[] shapes, Tensor sampling, Tensor attention, Tensor? reference, "
    "str backend"
)
LIBRARY = torch.library.Library("d2_psformer", "DEF")
LIBRARY.define(f"ms_deform_attn({INPUTS}) -> Tensor", tags=torch.Tag.pt2_compliant_tag)
LIBRARY.define(
    f"ms_deform_attn_backward(Tensor grad_output, {INPUTS}) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
ms_deform_attn = torch.ops.d2_psformer.ms_deform_attn.default
ms_deform_attn_backward = torch.ops.d2_psformer.ms_deform_attn_backward.default


def _pairs(flat: list[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _checked(value, shapes, *others) -> Inputs:
    inputs = Inputs(value, _pairs(shapes), *others)
    check_inputs(inputs)
    return inputs


def _forward(*arguments) -> Tensor:
    *tensors, backend = arguments
    inputs = _checked(*tensors)
    return backends.choose(backend, inputs).forward(inputs)


def _backward(grad_output, *arguments) -> tuple[Tensor, Tensor, Tensor]:
    *tensors, backend = arguments
    inputs = _checked(*tensors)
    value, sampling = inputs.value, inputs.sampling
    expected = (value.shape[0], sampling.shape[1], value.shape[2] * value.shape[3])
    if grad_output.shape != expected or grad_output.dtype != value.dtype:
        raise ValueError(
            f"grad_output must be {expected} of {value.dtype}, got {tuple(grad_output.shape)} "
            f"of {grad_output.dtype}."
        )
    # the gradient of a sum is one number, expanded
    return backends.choose(backend, inputs).backward(grad_output.contiguous(), inputs)


def _fake_forward(value, shapes, sampling, attention, reference, backend):
    return _checked(value, shapes, sampling, attention, reference).new_output()


def _fake_backward(grad_output, value, shapes, sampling, attention, reference, backend):
    return tuple(x.new_empty(x.shape) for x in (value, sampling, attention))


def _keep_for_backward(ctx, inputs, output) -> None:
    value, ctx.shapes, sampling, attention, reference, ctx.backend = inputs
    ctx.save_for_backward(value, sampling, attention, reference)


def _gradients(ctx, grad_output: Tensor):
    value, sampling, attention, reference = ctx.saved_tensors
    if reference is None or not ctx.needs_input_grad[4]:
        inputs = (value, ctx.shapes, sampling, attention, reference, ctx.backend)
        grad_value, *others = ms_deform_attn_backward(grad_output, *inputs)
        return grad_value, None, *others, None, None
    # Kernels give no gradient of the reference points: that of the classic form leads to it.
    pairs, weights = _pairs(ctx.shapes), weights_of(attention)
    locations = locations_of(sampling, pairs, reference)
    grad_value, *grads = ms_deform_attn_backward(
        grad_output, value, ctx.shapes, locations, weights, None, ctx.backend
    )
    grads = fused_gradients(*grads, pairs, sampling, attention, weights, reference)
    return grad_value, None, *grads, None


def _refuse_second_derivative(ctx, *grads):
    raise NotImplementedError(
        "Multi-scale deformable attention has no second derivative, on no backend."
    )


def autocast_inputs(device_type: str, inputs: Inputs) -> Inputs:
    """Values in autocast's type; locations and weights keep theirs, reference points float32."""
    value, shapes, sampling, attention, reference = inputs
    if value.dtype == torch.float64:
        return inputs
    value = value.to(torch.get_autocast_dtype(device_type))
    sampling, attention = (
        x.float() if x.dtype in HALF and x.dtype != value.dtype else x
        for x in (sampling, attention)
    )
    reference = None if reference is None else reference.float()
    return Inputs(value, shapes, sampling, attention, reference)


def _autocast_rule(device_type: str):
    def rule(*arguments):
        *tensors, backend = arguments
        inputs = autocast_inputs(device_type, Inputs(*tensors))
        with torch.autocast(device_type, enabled=False):
            return ms_deform_attn(*inputs, backend)

    return rule


def _register() -> None:
    forward, backward = "d2_psformer::ms_deform_attn", "d2_psformer::ms_deform_attn_backward"
    LIBRARY.impl("ms_deform_attn", _forward, "CompositeExplicitAutograd")
    LIBRARY.impl("ms_deform_attn_backward", _backward, "CompositeExplicitAutograd")
    torch.library.register_fake(forward, _fake_forward, lib=LIBRARY)
    torch.library.register_fake(backward, _fake_backward, lib=LIBRARY)
    torch.library.register_autograd(
        forward, _gradients, setup_context=_keep_for_backward, lib=LIBRARY
    )
    torch.library.register_autograd(backward, _refuse_second_derivative, lib=LIBRARY)
    for device_type in ("cpu", "cuda"):
        rule = _autocast_rule(device_type)
        LIBRARY.impl("ms_deform_attn", rule, f"Autocast{device_type.upper()}")


_register()

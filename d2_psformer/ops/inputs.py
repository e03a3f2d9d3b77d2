"""Arguments of the operator, and what they must satisfy before any memory is touched."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


class Inputs(NamedTuple):
    """Arguments of every backend: of the classic form (no reference) or the fused one.

    Attributes:
        value: (B, S, heads, channels), all levels one after the other, S = sum of H_l * W_l;
            float32, float64, bfloat16 or float16.
        shapes: (H, W) of every level.
        sampling: (B, Q, heads, levels, points, 2), x before y: locations in [0, 1]; fused: offsets.
        attention: (B, Q, heads, levels, points): weights; fused: logits.
        reference: None; fused: (B, Q, levels, 2) points or (B, Q, levels, 4) boxes.
    """

    value: Tensor
    shapes: Sequence[tuple[int, int]]
    sampling: Tensor
    attention: Tensor
    reference: Tensor | None

    def new_output(self) -> Tensor:
        """(B, Q, heads * channels) in the type of ``value``, not initialised."""
        batch, _, heads, channels = self.value.shape
        return self.value.new_empty(batch, self.sampling.shape[1], heads * channels)

    def with_plain_rows(self) -> "Inputs":
        """Contiguous but for the strides of B, Q and S, which kernels follow."""
        value, shapes, sampling, attention, reference = self
        value, sampling, attention = (
            x if x[:1, :1].is_contiguous() else x.contiguous() for x in (value, sampling, attention)
        )
        if reference is not None and not reference[:1].is_contiguous():
            reference = reference.contiguous()
        return Inputs(value, shapes, sampling, attention, reference)


def wide_type(dtype: torch.dtype) -> torch.dtype:
    """Type that sums are made in: float32, for float64 itself."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def inputs_names(is_fused: bool) -> tuple[str, str]:
    """What the public functions call sampling and attention."""
    if is_fused:
        return "sampling_offsets", "attention_logits"
    return "sampling_locations", "attention_weights"


def check_tensors(**arguments: Tensor) -> None:
    """Refuse what is no plain tensor, before its attributes are read.

    Raises:
        ValueError: names the argument and what it is.
    """
    for name, argument in arguments.items():
        if not isinstance(argument, Tensor):
            raise ValueError(f"{name} must be a tensor, got {type(argument).__name__}.")
        if argument.layout != torch.strided or argument.is_nested:
            raise ValueError(f"{name} must be a dense tensor, got a sparse or nested one.")


def check_inputs(inputs: Inputs) -> None:
    """Compare shapes, types and devices; messages use the names of the public functions.

    Raises:
        ValueError: names the argument, what it is and what was expected.
    """
    value, shapes, sampling, attention, reference = inputs
    names = inputs_names(reference is not None)
    _check_value(value, shapes)
    batch, _, heads, _ = value.shape
    _check_shape(names[0], sampling, (batch, "Q", heads, len(shapes), "points", 2))
    _check_shape(names[1], attention, tuple(sampling.shape[:-1]))
    types = (value.dtype, torch.float32) if value.dtype in HALF else (value.dtype,)
    _check_type(names[0], sampling, value, types)
    _check_type(names[1], attention, value, types)
    if reference is not None:
        rows = (batch, sampling.shape[1], len(shapes))
        _check_shape("reference_points", reference, (*rows, 2), (*rows, 4))
        _check_type("reference_points", reference, value, (wide_type(value.dtype),))


def _check_value(value: Tensor, shapes: Sequence[tuple[int, int]]) -> None:
    _check_shape("value", value, ("B", "S", "heads", "channels"))
    if not shapes:
        raise ValueError("spatial_shapes must hold (H, W) of at least one level, got none.")
    length = 0
    for height, width in shapes:
        if height < 1 or width < 1:
            raise ValueError(f"spatial_shapes must be positive, got {list(shapes)}.")
        length += height * width
    if length != value.shape[1]:
        raise ValueError(
            f"spatial_shapes {list(shapes)} do not add up to the {value.shape[1]} values: "
            f"value is {tuple(value.shape)}, its second size must be {length}."
        )
    if not value.dtype.is_floating_point or value.dtype.itemsize == 1:
        raise ValueError(
            f"value must be float32, float64, bfloat16 or float16, got {_name(value.dtype)}."
        )


def _check_shape(name: str, tensor: Tensor, *allowed: tuple) -> None:
    """Every size must be the one of an allowed shape; sizes given by name are free."""
    if not any(_has_shape(tensor, shape) for shape in allowed):
        expected = " or ".join(f"({', '.join(map(str, shape))})" for shape in allowed)
        raise ValueError(f"{name} must be {expected}, got {tuple(tensor.shape)}.")


def _has_shape(tensor: Tensor, expected: tuple) -> bool:
    return tensor.dim() == len(expected) and all(
        isinstance(size, str) or found == size
        for found, size in zip(tensor.shape, expected, strict=True)
    )


def _check_type(name: str, tensor: Tensor, value: Tensor, allowed: tuple) -> None:
    if tensor.device != value.device:
        raise ValueError(f"{name} is on {tensor.device}, but value is on {value.device}.")
    if tensor.dtype not in allowed:
        expected = " or ".join(map(_name, allowed))
        raise ValueError(
            f"{name} must be {expected} where value is {_name(value.dtype)}, "
            f"got {_name(tensor.dtype)}."
        )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

"""What the operator asks of its arguments, told in one sentence before any memory is touched."""

from collections.abc import Sequence

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)
CLASSIC = ("sampling_locations", "attention_weights")
FUSED = ("sampling_offsets", "attention_logits")


def check_inputs(
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    sampling: Tensor,
    attention: Tensor,
    reference: Tensor | None,
) -> None:
    """Compare shapes, types and devices; the names are those of the public functions.

    Raises:
        ValueError: names the argument, what it is and what was expected.
    """
    names = CLASSIC if reference is None else FUSED
    _check_value(value, shapes)
    batch, _, heads, _ = value.shape
    if (
        sampling.dim() != 6
        or sampling.shape[0] != batch
        or sampling.shape[2] != heads
        or sampling.shape[3] != len(shapes)
        or sampling.shape[5] != 2
    ):
        raise ValueError(
            f"{names[0]} must be ({batch}, Q, {heads}, {len(shapes)}, points, 2), "
            f"got {tuple(sampling.shape)}."
        )
    if attention.shape != sampling.shape[:-1]:
        raise ValueError(
            f"{names[1]} must be {tuple(sampling.shape[:-1])}, got {tuple(attention.shape)}."
        )
    _check_sampling_type(names[0], sampling, value)
    _check_sampling_type(names[1], attention, value)
    if reference is not None:
        _check_reference(reference, value, sampling)


def _check_value(value: Tensor, shapes: Sequence[tuple[int, int]]) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be (B, S, heads, channels), got {tuple(value.shape)}.")
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
            f"value must be float32, float64, bfloat16 or float16, got {_type(value)}."
        )


def _check_sampling_type(name: str, tensor: Tensor, value: Tensor) -> None:
    if tensor.device != value.device:
        raise ValueError(f"{name} is on {tensor.device}, but value is on {value.device}.")
    if tensor.dtype != value.dtype and not (tensor.dtype == torch.float32 and value.dtype in HALF):
        expected = _type(value) + (" or float32" if value.dtype in HALF else "")
        raise ValueError(f"{name} must be {expected}, as value is, got {_type(tensor)}.")


def _check_reference(reference: Tensor, value: Tensor, sampling: Tensor) -> None:
    batch, queries, _, levels, _, _ = sampling.shape
    if reference.dim() != 4 or (
        reference.shape[0] != batch
        or reference.shape[1] != queries
        or reference.shape[2] != levels
        or reference.shape[3] not in (2, 4)
    ):
        raise ValueError(
            f"reference_points must be ({batch}, {queries}, {levels}, 2) or "
            f"({batch}, {queries}, {levels}, 4), got {tuple(reference.shape)}."
        )
    if reference.device != value.device:
        raise ValueError(
            f"reference_points is on {reference.device}, but value is on {value.device}."
        )
    expected = torch.float64 if value.dtype == torch.float64 else torch.float32
    if reference.dtype != expected:
        raise ValueError(
            f"reference_points must be {str(expected).removeprefix('torch.')} where value is "
            f"{_type(value)}, got {_type(reference)}."
        )


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

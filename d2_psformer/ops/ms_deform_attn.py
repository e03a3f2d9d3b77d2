"""Multi-scale deformable attention (Deformable DETR, equation 3) in plain PyTorch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]] | Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sample every level bilinearly at the given locations and sum with the given weights.

    Samples outside the map read zeros; pixel centres are at (i + 0.5) / size.

    Args:
        value: (B, S, heads, channels), all levels one after the other, S = sum of H_l * W_l.
        spatial_shapes: (H, W) of every level.
        sampling_locations: (B, Q, heads, levels, points, 2), x before y, in [0, 1].
        attention_weights: (B, Q, heads, levels, points).

    Returns:
        (B, Q, heads * channels).

    Raises:
        ValueError: a shape that does not fit, named with what was expected.
    """
    shapes = [(int(h), int(w)) for h, w in spatial_shapes]
    _check(value, shapes, sampling_locations, attention_weights)
    batch, _, heads, channels = value.shape
    _, queries, _, levels, points, _ = sampling_locations.shape
    # grid_sample's coordinates run from -1 to 1
    grids = (2 * sampling_locations - 1).permute(0, 2, 1, 3, 4, 5).flatten(0, 1)
    maps = value.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in shapes], dim=-1)
    samples = [
        F.grid_sample(
            level_map.unflatten(-1, shape),
            grids[:, :, level],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
        for level, (level_map, shape) in enumerate(zip(maps, shapes, strict=True))
    ]  # each (B * heads, channels, Q, points)
    weights = attention_weights.transpose(1, 2).reshape(batch * heads, 1, queries, levels * points)
    output = (torch.cat(samples, dim=-1) * weights).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2)


def _check(value: Tensor, shapes: list, locations: Tensor, weights: Tensor) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be (B, S, heads, channels), got {tuple(value.shape)}.")
    batch, length, heads, _ = value.shape
    if sum(h * w for h, w in shapes) != length:
        raise ValueError(f"spatial_shapes {shapes} do not add up to the {length} values.")
    if (
        locations.dim() != 6
        or locations.shape[0] != batch
        or locations.shape[2:4] != (heads, len(shapes))
        or locations.shape[5] != 2
    ):
        raise ValueError(
            f"sampling_locations must be ({batch}, Q, {heads}, {len(shapes)}, points, 2), "
            f"got {tuple(locations.shape)}."
        )
    if weights.shape != locations.shape[:-1]:
        raise ValueError(
            f"attention_weights must be {tuple(locations.shape[:-1])}, got {tuple(weights.shape)}."
        )

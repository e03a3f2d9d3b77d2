"""Multi-scale deformable attention as a module (Deformable DETR, section 4.1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..ops import fused_ms_deform_attn, has_kernel
from .linear_layer import Linear, linear


class MultiScaleDeformableAttention(nn.Module):
    """Every query reads ``num_points`` points a head and level, at predicted offsets.

    Offsets and attention have parameters of their own, but one matrix product makes both.
    Sampling and the projection of values are both linear, so that either may come first: few
    queries sample a large memory before the projection, which then has few rows.
    """

    def __init__(self, dim: int, num_heads: int = 8, num_levels: int = 4, num_points: int = 4):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}.")
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_proj = Linear(dim, dim)
        self.output_proj = Linear(dim, dim)
        self._kept: _KeptProjection | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform attention over points that start on a star, one ray a head."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ray = ray / ray.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.num_points + 1)
        star = ray[:, None, None, :] * distance[:, None]
        star = star.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.weight.zero_()
            self.sampling_offsets.bias.copy_(star.flatten())
            self.attention_weights.weight.zero_()
            self.attention_weights.bias.zero_()
            for projection in (self.value_proj, self.output_proj):
                nn.init.xavier_uniform_(projection.weight)
                projection.bias.zero_()

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        memory: Tensor,
        spatial_shapes: Sequence[tuple[int, int]],
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            query: (B, Q, dim), position added.
            reference: (B, Q, levels, 2) points or (B, Q, levels, 4) boxes (cx, cy, w, h),
                normalised to the padded map of each level.
            memory: (B, S, dim), all levels one after the other.
            spatial_shapes: (H, W) of every level.
            padding_mask: (B, S) bool, True = padding: such values are zeroed.

        Returns:
            (B, Q, dim).
        """
        weight, bias = self._merged_projection()
        sizes = [self.sampling_offsets.out_features, self.attention_weights.out_features]
        offsets, logits = linear(query, weight, bias).split(sizes, dim=-1)
        points = (self.num_heads, self.num_levels, self.num_points)
        offsets, logits = offsets.unflatten(-1, (*points, 2)), logits.unflatten(-1, points)
        if self._samples_are_few(query, memory):
            read = self._project_samples(
                memory, padding_mask, spatial_shapes, offsets, logits, reference
            )
        else:
            value = _without_padding(self.value_proj(memory), padding_mask)
            value = value.unflatten(-1, (self.num_heads, -1))
            read = fused_ms_deform_attn(value, spatial_shapes, offsets, logits, reference)
        return self.output_proj(read)

    def _samples_are_few(self, query: Tensor, memory: Tensor) -> bool:
        """Whether it is faster to project what is read, a row for every query and head.

        By measurement it is where the memory has twice as many rows, on a CPU with the kernel:
        plain PyTorch keeps the channels of every point, and on a GPU the projection costs next
        to nothing. Compilers and exporters, which may leave sizes open, get one order.
        """
        return (
            memory.device.type == "cpu"
            and not torch.compiler.is_compiling()  # asked first: a size asked for is a size fixed
            and not torch.jit.is_tracing()
            and 2 * query.shape[1] * self.num_heads <= memory.shape[1]
            and has_kernel("cpu")
        )

    def _project_samples(
        self,
        memory: Tensor,
        padding_mask: Tensor | None,
        spatial_shapes: Sequence[tuple[int, int]],
        offsets: Tensor,
        logits: Tensor,
        reference: Tensor,
    ) -> Tensor:
        """(B, Q, dim), what all heads read: sum a (W x + b) as W (sum a x) + b (sum a).

        Points on padding or outside of the maps read zeros, also in the sum of the weights. Every
        head needs all channels, so it samples like a query of its own.
        """
        heads = self.num_heads
        offsets, logits = (x.flatten(1, 2)[:, :, None] for x in (offsets, logits))
        reference = reference.repeat_interleave(heads, dim=1)

        def sample(cells: Tensor, parts: int) -> Tensor:
            """(B, S, channels) -> (B, Q, heads, channels), by parts of as many as a head has."""
            cells = _without_padding(cells, padding_mask).unflatten(-1, (parts, -1))
            points = (x.expand(-1, -1, parts, *x.shape[3:]) for x in (offsets, logits))
            samples = fused_ms_deform_attn(cells, spatial_shapes, *points, reference)
            return samples.unflatten(1, (-1, heads))

        weight, bias = self.value_proj.weight, self.value_proj.bias
        values = torch.einsum(
            "bqhc,hdc->bqhd", sample(memory, heads), weight.unflatten(0, (heads, -1))
        )
        weights_inside = sample(torch.ones_like(memory[..., :1]), 1)
        return (values + weights_inside * bias.unflatten(0, (heads, -1))).flatten(2)

    def train(self, mode: bool = True) -> "MultiScaleDeformableAttention":
        self._kept = None
        return super().train(mode)

    def _merged_projection(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of offsets and attention, one below the other.

        They are kept for inference, until a parameter is changed, replaced or moved.
        """
        offsets, attention = self.sampling_offsets, self.attention_weights
        sources = (offsets.weight, attention.weight, offsets.bias, attention.bias)
        may_keep = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        if not may_keep or any(x.is_inference() for x in sources):  # those count no changes
            return torch.cat(sources[:2]), torch.cat(sources[2:])
        if self._kept is None or not self._kept.fits(sources):
            self._kept = _KeptProjection(sources)
        return self._kept.weight, self._kept.bias


def _without_padding(cells: Tensor, padding_mask: Tensor | None) -> Tensor:
    """(B, S, channels), zero where the mask is True."""
    return cells if padding_mask is None else cells.masked_fill(padding_mask[..., None], 0.0)


class _KeptProjection:
    """Merged parameters, and by which state of their sources they were merged."""

    def __init__(self, sources: tuple[Tensor, ...]):
        self.weight, self.bias = torch.cat(sources[:2]), torch.cat(sources[2:])
        # Holding the memory of the sources, so that none of another tensor can get its address.
        self._sources = [x.detach() for x in sources]
        self._versions = [x._version for x in sources]

    def fits(self, sources: tuple[Tensor, ...]) -> bool:
        """Whether these are the same tensors, unchanged: type, device, memory and version."""
        return all(
            now.dtype == then.dtype
            and now.device == then.device
            and now.data_ptr() == then.data_ptr()
            and now._version == version
            for now, then, version in zip(sources, self._sources, self._versions, strict=True)
        )

    def __deepcopy__(self, memo: dict) -> None:
        """A copied module merges anew."""

    def __reduce__(self) -> tuple:
        """A saved one too."""
        return type(None), ()

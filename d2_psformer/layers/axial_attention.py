"""Axial attention with position-sensitive encodings (Axial-DeepLab, arXiv 2003.07853)."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils.checks import check_heads
from .conv_norm import ConvNorm, batch_norm, truncated_normal_

# A cell reads others up to this many cells away, so that a side has one more at most.
REACH = 254


class AxialAttention(nn.Module):
    """Attention among the cells of a column, or of a row.

    The logits are q·k, q·(encoding for queries) and k·(encoding for keys), each with a batch norm
    of its own in every head; the result is made of values and of encodings for values, each with
    batch norm. An encoding belongs to the distance of two cells and is shared by the heads.

    Args:
        key_dim, value_dim: channels of all heads together.
        axis: "height" or "width".
    """

    def __init__(self, in_channels: int, key_dim: int, value_dim: int, axis: str, heads: int):
        super().__init__()
        check_heads(key_dim, heads)
        check_heads(value_dim, heads)
        self.heads, self.axis, self.sizes = heads, axis, (key_dim, key_dim, value_dim)
        self.qkv = ConvNorm(in_channels, sum(self.sizes))
        truncated_normal_(self.qkv.conv.weight, in_channels**-0.5)
        self.query_encodings, self.key_encodings, self.value_encodings = (
            nn.Parameter(torch.empty(2 * REACH + 1, size // heads)) for size in self.sizes
        )
        for table in (self.query_encodings, self.key_encodings, self.value_encodings):
            truncated_normal_(table, 1.0)
        self.similarity_norm = batch_norm(3 * heads)
        self.output_norm = batch_norm(2 * value_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, value_dim, H, W)."""
        # rows (B, lines, cells, channels) lie in memory as a map in channels_last does
        x = x.transpose(2, 3) if self.axis == "height" else x
        qkv = self.qkv(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)
        lines, length = qkv.shape[1:3]
        q, k, v = (
            y.unflatten(-1, (self.heads, -1)).flatten(0, 1) for y in qkv.split(self.sizes, -1)
        )
        cells = torch.arange(length, device=x.device)
        distances = cells - cells[:, None] + REACH
        of_query, of_key, of_value = (
            F.embedding(distances, table)
            for table in (self.query_encodings, self.key_encodings, self.value_encodings)
        )
        similarities = (
            torch.einsum("nlhd,nmhd->nhlm", q, k),
            torch.einsum("nlhd,lmd->nhlm", q, of_query),
            torch.einsum("nmhd,lmd->nhlm", k, of_key),
        )
        logits = self.similarity_norm(torch.cat(similarities, dim=1))
        weights = logits.unflatten(1, (3, -1)).sum(1).softmax(-1)
        read = (
            torch.einsum("nhlm,nmhd->nlhd", weights, v),
            torch.einsum("nhlm,lmd->nlhd", weights, of_value),
        )
        read = self.output_norm(torch.cat(read, dim=2).flatten(0, 1).flatten(1)[..., None, None])
        content, position = read.flatten(1).chunk(2, dim=1)
        result = (content + position).unflatten(0, (-1, lines, length)).permute(0, 3, 1, 2)
        return result.transpose(2, 3) if self.axis == "height" else result


def axial_attention(in_channels: int, key_dim: int, value_dim: int, heads: int) -> nn.Sequential:
    """Attention along the height, then along the width: every cell is reached in two steps."""
    return nn.Sequential(
        OrderedDict(
            height=AxialAttention(in_channels, key_dim, value_dim, "height", heads),
            width=AxialAttention(value_dim, key_dim, value_dim, "width", heads),
        )
    )

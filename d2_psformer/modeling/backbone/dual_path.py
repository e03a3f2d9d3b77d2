"""The dual-path transformer layer of MaX-DeepLab (section 3.2)."""

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from ...layers import ConvNorm, batch_norm, truncated_normal_
from ...utils.checks import check_heads

# Who reads whom: p2m is pixels reading memory. Pixels read pixels in axial attention.
PATHS = ("p2m", "m2p", "m2m")


class NormedAttention(nn.Module):
    """Multi-head attention with batch norm of the logits, in place of a scale, and of the result.

    Args:
        channels: of the values of all heads together.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.similarity_norm = batch_norm(heads)
        self.output_norm = batch_norm(channels)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (B, D, h, w), key (B, D, S), value (B, C, S) -> (B, C, h, w), with a ReLU."""
        heads = (x.unflatten(1, (self.heads, -1)) for x in (query.flatten(2), key, value))
        query_heads, key, value = heads
        weights = self.similarity_norm(query_heads.mT @ key).softmax(-1)
        read = (value @ weights.mT).flatten(1, 2).unflatten(2, query.shape[2:])
        return self.output_norm(read).relu()


class Projection(nn.Module):
    """A map -> its queries, keys and values.

    Args:
        width: channels of queries and of keys; values have twice as many.
        reads: there are queries.
        is_read: there are keys and values.
    """

    def __init__(self, in_channels: int, width: int, *, reads: bool, is_read: bool):
        super().__init__()
        self.sizes = width * reads, width * is_read, 2 * width * is_read
        self.reduce = ConvNorm(in_channels, 2 * width, relu=True)
        self.qkv = ConvNorm(2 * width, sum(self.sizes))
        truncated_normal_(self.qkv.conv.weight, (2 * width) ** -0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, h, w) -> queries (B, D, h, w), keys (B, D, h w), values (B, 2 D, h w)."""
        query, key, value = self.qkv(self.reduce(x)).split(self.sizes, 1)
        return query, key.flatten(2), value.flatten(2)


class DualPathLayer(nn.Module):
    """Memory reads pixels and memory with one softmax; pixels read what the memory was before.

    The memory is a map of N x 1 cells, so that it has the same layers as the pixels.
    """

    def __init__(
        self,
        pixel_channels: int,
        memory_channels: int,
        width: int,
        *,
        dim_feedforward: int,
        heads: int,
        paths: tuple[str, ...] = PATHS,
        drop_path: float = 0.0,
    ):
        """
        Args:
            width: channels of the keys of all heads together.
            dim_feedforward: hidden channels of the memory's feed-forward layer; 0 for none.
            paths: one of ``PATHS`` or more.
        """
        super().__init__()
        check_heads(width, heads)
        self.paths = paths
        pixels_read, memory_reads = "p2m" in paths, "m2p" in paths or "m2m" in paths
        self.memory_projection = Projection(
            memory_channels, width, reads=memory_reads, is_read=pixels_read or "m2m" in paths
        )
        if pixels_read or "m2p" in paths:
            self.pixel_projection = Projection(
                pixel_channels, width, reads=pixels_read, is_read="m2p" in paths
            )
        if memory_reads:
            self.memory_attention = NormedAttention(2 * width, heads)
            self.memory_out = ConvNorm(2 * width, memory_channels, scale=0.0)
        self.feed_forward = None
        if dim_feedforward:
            self.feed_forward = nn.Sequential(
                ConvNorm(memory_channels, dim_feedforward, relu=True),
                ConvNorm(dim_feedforward, memory_channels, scale=0.0),
            )
        if pixels_read:
            self.pixel_attention = NormedAttention(2 * width, heads)
            self.pixel_out = ConvNorm(2 * width, pixel_channels, scale=0.0)
        self.drop_path = DropPath(drop_path)

    def forward(self, pixels: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (B, C, h, w), without activation, and memory (B, M, N, 1) -> the same."""
        memory_query, *of_memory = self.memory_projection(memory)
        pixel_query, of_pixels = None, None
        if "p2m" in self.paths or "m2p" in self.paths:
            pixel_query, *of_pixels = self.pixel_projection(pixels.relu())
        sources = {"m2p": of_pixels, "m2m": of_memory}
        read = [source for path, source in sources.items() if path in self.paths]
        if read:
            keys, values = (torch.cat(x, dim=2) for x in zip(*read, strict=True))
            update = self.memory_out(self.memory_attention(memory_query, keys, values))
            memory = (memory + self.drop_path(update)).relu()
        if self.feed_forward is not None:
            memory = (memory + self.drop_path(self.feed_forward(memory))).relu()
        if "p2m" in self.paths:
            update = self.pixel_out(self.pixel_attention(pixel_query, *of_memory))
            pixels = pixels + self.drop_path(update)
        return pixels, memory

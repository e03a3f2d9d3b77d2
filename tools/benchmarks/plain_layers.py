"""Layers in the plain formulation, by the parameters of ours.

Only parameters are read, no forward pass of ours is called: what is made fast there must not make
the peer fast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.ops import reference as grid_sample_kernel
from d2_psformer.ops.inputs import Inputs


def decode_masks(
    decoder: nn.Module, query: Tensor, position: Tensor | None, memory: Memory
) -> tuple[list[Tensor], list[Tensor]]:
    """Masks of every block and the tail, queries after every block."""
    shapes = memory.spatial_shapes[: decoder.num_levels]
    tokens = memory.finest(decoder.num_levels)
    masks, queries = [], []
    for block in decoder.blocks:
        query = query if position is None else query + position
        if block.self_attn is not None:
            update = self_attention(block.self_attn, query, query, query)
            query = normed(block.self_norm, query + update)
        scores = attention_scores(block.cross_attn, query, tokens)
        masks.append(fused_mask(block.cross_attn, scores, shapes))
        values = by_head(block.cross_attn, linear(block.cross_attn.v_proj, tokens))
        update = (scores.softmax(-1) @ values).transpose(1, 2).flatten(2)
        update = linear(block.cross_attn.out_proj, update)
        query = feed_forward(block.ffn, normed(block.cross_norm, query + update))
        queries.append(query)
    query = query if position is None else query + position
    masks.append(fused_mask(decoder.tail, attention_scores(decoder.tail, query, tokens), shapes))
    return masks, queries


def attention_scores(attention: nn.Module, query: Tensor, tokens: Tensor) -> Tensor:
    """Scaled, before the softmax: (B, heads, N, S)."""
    q = by_head(attention, linear(attention.q_proj, query))
    k = by_head(attention, linear(attention.k_proj, tokens))
    return q @ k.transpose(-2, -1).contiguous() * q.shape[-1] ** -0.5


def fused_mask(attention: nn.Module, scores: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """(B, N, h, w): every level through its layer, all channels resized, then mixed."""
    batch, _, queries, _ = scores.shape
    channels = scores.permute(0, 2, 3, 1).split([h * w for h, w in shapes], dim=2)
    levels = []
    for layer, level, shape in zip(attention.level_fc, channels, shapes, strict=True):
        hidden = F.relu(linear(layer, level))
        if shape != shapes[0]:
            maps = hidden.flatten(0, 1).transpose(1, 2).unflatten(-1, shape)
            maps = F.interpolate(maps.contiguous(), shapes[0], mode="bilinear")
            hidden = maps.flatten(2).transpose(1, 2).unflatten(0, (batch, queries))
        levels.append(hidden)
    mask = F.relu(linear(attention.mask_fc, torch.cat(levels, dim=-1)))
    return mask.squeeze(-1).unflatten(-1, shapes[0])


def deformable_attention(
    attention: nn.Module, query: Tensor, reference: Tensor, memory: Memory
) -> Tensor:
    values = linear(attention.value_proj, memory.tokens)
    values = values.masked_fill(memory.padding_mask[..., None], 0.0)
    points = (attention.num_heads, attention.num_levels, attention.num_points)
    offsets = linear(attention.sampling_offsets, query).unflatten(-1, (*points, 2))
    logits = linear(attention.attention_weights, query).unflatten(-1, points)
    values = values.unflatten(-1, (attention.num_heads, -1))
    inputs = Inputs(values, memory.spatial_shapes, offsets, logits, reference)
    sampled = grid_sample_kernel.forward(inputs)
    return linear(attention.output_proj, sampled)


def self_attention(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Of ``nn.MultiheadAttention``, softmax and all."""
    weights = attention.in_proj_weight.chunk(3)
    biases = attention.in_proj_bias.chunk(3)
    q, k, v = (
        by_head(attention, F.linear(x, weight, bias))
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    shares = F.dropout(scores.softmax(-1), attention.dropout, attention.training)
    return linear(attention.out_proj, (shares @ v).transpose(1, 2).flatten(2))


def feed_forward(layer: nn.Module, x: Tensor) -> Tensor:
    activation = layer.activation or F.relu  # ours has its ReLU inside the first linear layer
    hidden = dropped(layer.dropout, activation(linear(layer.linear1, x)))
    return normed(layer.norm, x + dropped(layer.dropout, linear(layer.linear2, hidden)))


def dropped(layer: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(x, layer.p, layer.training)


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight, layer.bias)


def normed(layer: nn.Module, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def by_head(attention: nn.Module, x: Tensor) -> Tensor:
    """(B, N, dim) -> (B, heads, N, dim / heads)."""
    return x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2).contiguous()

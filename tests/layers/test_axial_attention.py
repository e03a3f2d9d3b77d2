"""Axial attention against its formula, pair by pair."""

import torch
from torch import Tensor

from d2_psformer.layers import AxialAttention, axial_attention
from d2_psformer.layers.axial_attention import REACH


@torch.no_grad()
def layer(axis: str) -> AxialAttention:
    """3 channels in, 2 heads, in evaluation mode with norms that change what they read."""
    attention = AxialAttention(3, 4, 6, axis, heads=2).eval()
    for name, tensor in attention.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif "norm" in name and tensor.is_floating_point():
            tensor.normal_()
    return attention


def formula(attention: AxialAttention, row: Tensor) -> Tensor:
    """(L, 3) -> (L, 6), one query and head at a time."""
    norms = attention.similarity_norm, attention.output_norm
    logit_norm, read_norm = (
        lambda x, i, n=n: (
            (x - n.running_mean[i]) * n.weight[i] / (n.running_var[i] + n.eps).sqrt() + n.bias[i]
        )
        for n in norms
    )
    channels = attention.qkv(row.T[None, :, None])[0, :, 0].T
    result = torch.zeros(len(row), 6)
    for head in range(2):
        q, k = channels[:, 2 * head :][:, :2], channels[:, 4 + 2 * head :][:, :2]
        v = channels[:, 8 + 3 * head :][:, :3]
        for i in range(len(row)):
            distances = torch.arange(len(row)) - i + REACH
            terms = (
                k @ q[i],
                attention.query_encodings[distances] @ q[i],
                (attention.key_encodings[distances] * k).sum(1),
            )
            logits = sum(logit_norm(term, 2 * t + head) for t, term in enumerate(terms))
            weights = logits.softmax(0)
            read = weights @ v, weights @ attention.value_encodings[distances]
            places = slice(3 * head, 3 * head + 3)
            for t, y in enumerate(read):
                result[i, places] += read_norm(y, slice(6 * t + places.start, 6 * t + places.stop))
    return result


@torch.no_grad()
def test_rows_and_columns():
    x = torch.randn(2, 3, 4, 5)
    rows, columns = layer("width"), layer("height")
    torch.testing.assert_close(rows(x)[1, :, 2].T, formula(rows, x[1, :, 2].T))
    torch.testing.assert_close(columns(x)[0, :, :, 3].T, formula(columns, x[0, :, :, 3].T))


def test_every_cell_reaches_every_other():
    x = torch.randn(1, 3, 4, 5, requires_grad=True)
    axial_attention(3, 4, 6, heads=2).eval()(x)[0, :, 1, 2].sum().backward()
    assert (x.grad != 0).any(1).all()


def test_the_longest_side():
    length = REACH + 1
    assert layer("width")(torch.zeros(1, 3, 1, length)).shape == (1, 6, 1, length)

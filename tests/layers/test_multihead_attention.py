"""Attention against PyTorch's own module."""

import pytest
import torch
from torch import nn

from d2_psformer.layers import Attention


@pytest.fixture
def inputs():
    """Query (2, 5, 16), key and value (2, 7, 16), float64."""
    return torch.randn(2, 5, 16).double(), *torch.randn(2, 2, 7, 16).double()


def pair() -> tuple[Attention, nn.MultiheadAttention]:
    """Ours and PyTorch's with the same parameters, which have the same names."""
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    return ours.double(), theirs.double()


def test_equals_pytorch(inputs):
    ours, theirs = pair()
    expected, _ = theirs(*inputs, need_weights=False)
    torch.testing.assert_close(ours(*inputs), expected)


def test_blocked_cells_equal_pytorch(inputs):
    ours, theirs = pair()
    blocked = torch.rand(2, 5, 7) < 0.5
    blocked[..., 3] = False
    expected, _ = theirs(*inputs, attn_mask=blocked.repeat_interleave(4, 0), need_weights=False)
    torch.testing.assert_close(ours(*inputs, blocked), expected)


def test_blocked_cells_are_not_read(inputs):
    ours, _ = pair()
    query, key, value = inputs
    blocked = torch.zeros(2, 5, 7, dtype=torch.bool)
    blocked[..., 4:] = True
    before = ours(query, key, value, blocked)
    torch.testing.assert_close(ours(query, key[:, :4], value[:, :4]), before)


def test_gradients(inputs):
    ours, _ = pair()
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(ours, tuple(inputs))


def test_dropout_is_for_training_alone(inputs):
    ours = Attention(16, 4, dropout=0.5).double()
    assert not torch.equal(ours(*inputs), ours(*inputs))
    ours.eval()
    assert torch.equal(ours(*inputs), ours(*inputs))

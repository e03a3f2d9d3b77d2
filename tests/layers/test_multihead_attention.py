"""Attention with our dropout against torch's own module."""

import pytest
import torch
from torch import nn

from d2_psformer.layers.attention import MultiheadAttention

DIM, HEADS = 24, 3


def pair(p: float) -> tuple[MultiheadAttention, nn.MultiheadAttention]:
    """Ours and torch's with the same parameters, under the same names."""
    ours, theirs = (
        MultiheadAttention(DIM, HEADS, p),
        nn.MultiheadAttention(DIM, HEADS, p, batch_first=True),
    )
    nn.init.normal_(ours.in_proj_bias)
    nn.init.normal_(ours.out_proj.bias)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def drawn() -> list[torch.Tensor]:
    return [torch.randn(2, n, DIM, requires_grad=True) for n in (5, 7, 7)]


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.4, False), (1e-9, True)])
def test_equals_torchs(p, training):
    """Dropout of one number in a thousand million is none, but takes our way."""
    ours, theirs = (module.train(training) for module in pair(p))
    inputs = drawn()
    result, expected = ours(*inputs), theirs(*inputs, need_weights=False)[0]
    torch.testing.assert_close(result, expected)
    gradient = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(result, [*inputs, *ours.parameters()], gradient),
        torch.autograd.grad(expected, [*inputs, *theirs.parameters()], gradient),
        rtol=1e-4,
        atol=1e-5,
    )


def test_weights_are_dropped_not_results():
    """Over many draws the mean is the result without dropout; the spread is that of torch's."""
    torch.manual_seed(0)
    ours, theirs = pair(0.3)
    inputs = [x.detach().expand(1000, -1, -1) for x in (y[:1] for y in drawn())]
    with torch.no_grad():
        mine, others = ours(*inputs), theirs(*inputs, need_weights=False)[0]
        whole = ours.eval()(*inputs)[0]
    torch.testing.assert_close(mine.mean(0), whole, rtol=0, atol=0.1)
    torch.testing.assert_close(mine.std(0), others.std(0), rtol=0.2, atol=0.02)
    assert mine.std(0).min() > 0.01


def test_the_seed_decides():
    ours, _ = pair(0.5)
    inputs = drawn()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(ours(*inputs))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_autocast():
    ours, _ = pair(0.5)
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(*drawn()).dtype == torch.bfloat16

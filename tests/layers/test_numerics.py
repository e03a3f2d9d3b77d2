"""Safe logits and prior biases."""

import math

import pytest
import torch

from d2_psformer.layers import inverse_sigmoid, prior_bias


def test_inverse_sigmoid_undoes_sigmoid():
    x = torch.linspace(-8, 8, 33, dtype=torch.float64)
    torch.testing.assert_close(inverse_sigmoid(x.sigmoid()), x)


def test_inverse_sigmoid_is_finite_at_the_ends():
    ends = inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
    limit = math.log(1 / 1e-5)
    torch.testing.assert_close(ends, torch.tensor([-limit, -limit, limit, limit]))


@pytest.mark.parametrize(("probability", "bias"), [(0.01, -4.595), (0.12, -1.992), (0.5, 0.0)])
def test_prior_bias(probability, bias):
    assert prior_bias(probability) == pytest.approx(bias, abs=1e-3)

"""Activation checkpointing: the same numbers for less memory."""

import pytest
import torch
from small_models import MAX_DEEPLAB_L, sample, small_model
from torch.autograd.graph import saved_tensors_hooks

PARTS = ["backbone", "pixel_decoder", "transformer_decoder"]


def train_once(parts: list[str], **options) -> tuple[dict, dict, int]:
    """Losses, gradients and the bytes kept for the backward pass."""
    torch.manual_seed(0)
    model = small_model(
        **{
            "MODEL.CHECKPOINTING": parts,
            "MODEL.PIXEL_DECODER.DROPOUT": 0.1,
            "MODEL.TRANSFORMER_DECODER.DROPOUT": 0.1,
            "MODEL.BACKBONE.NORM": "FrozenBN",
        }
        | options
    )
    weights, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    torch.manual_seed(1)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model([sample(64, 96, [0, 1, 3, 4])])
    sum(losses.values()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    return losses, gradients, sum(kept.values())


@pytest.fixture(scope="module")
def plain():
    return train_once([])


@pytest.mark.parametrize("part", PARTS)
def test_same_numbers_less_memory(part, plain):
    losses, gradients, kept = train_once([part])
    torch.testing.assert_close(losses, plain[0])
    torch.testing.assert_close(gradients, plain[1], rtol=1e-4, atol=1e-5)
    assert kept < plain[2]


def test_all_together(plain):
    _, gradients, kept = train_once(PARTS)
    torch.testing.assert_close(gradients, plain[1], rtol=1e-4, atol=1e-5)
    assert kept < 0.8 * plain[2]


def test_a_backbone_with_queries():
    """With drop path, whose random numbers have to be the same again."""
    options = MAX_DEEPLAB_L | {"MODEL.BACKBONE.DROP_PATH": 0.2}
    losses, gradients, kept = train_once([], **options)
    again, same, less = train_once(["backbone"], **options)
    torch.testing.assert_close(again, losses)
    torch.testing.assert_close(same, gradients, rtol=1e-4, atol=1e-5)
    assert less < 0.6 * kept

"""MLPs against torch's and transformers' own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from d2_psformer.layers import MLP, FeedForward


def test_mlp_equals_transformers():
    theirs = pytest.importorskip("transformers.models.deformable_detr.modeling_deformable_detr")
    ours, reference = MLP(6, 10, 4, 3), theirs.DeformableDetrMLPPredictionHead(6, 10, 4, 3)
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(5, 6)
    torch.testing.assert_close(ours(x), reference(x))


def test_mlp_of_one_layer_is_linear():
    mlp = MLP(3, 99, 2, 1)
    assert [tuple(p.shape) for p in mlp.parameters()] == [(2, 3), (2,)]


@pytest.mark.parametrize(("activation", "dropout"), [(F.relu_, 0.3), (F.gelu, 0.0)])
def test_feed_forward_equals_the_tail_of_a_torch_encoder_layer(activation, dropout):
    ours = FeedForward(8, 16, dropout, activation, norm_eps=1e-6).eval()
    layer = nn.TransformerEncoderLayer(
        8, 2, 16, activation=activation, layer_norm_eps=1e-6, batch_first=True
    ).eval()
    for name in ("linear1", "linear2"):
        getattr(layer, name).load_state_dict(getattr(ours, name).state_dict())
    nn.init.normal_(ours.norm.weight)
    layer.norm2.load_state_dict(ours.norm.state_dict())
    # silence the attention, so that norm1 alone comes before the MLP
    nn.init.zeros_(layer.self_attn.out_proj.weight)
    nn.init.zeros_(layer.self_attn.out_proj.bias)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(layer.norm1(x)), layer(x))


def test_dropout_acts_in_training_only():
    layer = FeedForward(8, 16, dropout=0.5)
    x = torch.randn(4, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_dropout_before_the_relu_is_dropout_behind_it():
    layer = FeedForward(8, 64, dropout=0.4)
    x = torch.randn(5, 8)
    torch.manual_seed(3)
    ours = layer(x)
    torch.manual_seed(3)
    hidden = layer.dropout(F.relu(layer.linear1(x)))
    torch.testing.assert_close(ours, layer.norm(x + layer.dropout(layer.linear2(hidden))))


def test_of_hidden_channels_one_map_and_the_noise_of_dropout_are_kept():
    kept = []
    layer = FeedForward(8, 64, dropout=0.4)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(torch.randn(5, 8))
    assert len({t.data_ptr() for t in kept if t.shape == (5, 64)}) == 2


def test_dropout_does_not_change_places_with_a_gelu():
    with pytest.raises(ValueError, match="change places"):
        FeedForward(8, 16, dropout=0.1, activation=F.gelu)

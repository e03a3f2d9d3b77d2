"""Convolutions with the norms behind them, against timm's own modules."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from d2_psformer.modeling.backbone import TimmBackbone, norms_apart
from d2_psformer.modeling.backbone.folded_norms import FoldingConv2d, fold_fixed_norms

# basic blocks behind a deep stem; bottlenecks with groups; squeeze-and-excitation
NAMES = ["resnet10t", "resnext26ts", "resnet50", "seresnet50"]


def both(name: str, **options) -> tuple[TimmBackbone, nn.Module]:
    """Ours and timm's with the same random weights and statistics, in float64."""
    torch.manual_seed(0)
    features = ["res3", "res4", "res5"]
    ours = TimmBackbone(name=name, out_features=features, **options).double()
    for norm in ours.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
    levels = ours.body.feature_info.out_indices
    theirs = timm.create_model(name, features_only=True, out_indices=levels).double()
    theirs.load_state_dict(ours.body.state_dict())  # under the same names
    return ours, theirs


def gradients(model: nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    outputs = model(image)
    outputs = outputs.values() if isinstance(outputs, dict) else outputs
    sum((x * x).mean() for x in outputs).backward()
    names = (name.removeprefix("body.") for name, _ in model.named_parameters())
    return dict(zip(names, (p.grad for p in model.parameters()), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_frozen_norms_give_the_same_features_and_gradients(name):
    ours, theirs = both(name, freeze_bn=True)
    image = torch.randn(2, 3, 40, 56, dtype=torch.float64)
    theirs.eval()
    for parameter, known in zip(theirs.parameters(), ours.parameters(), strict=True):
        parameter.requires_grad_(known.requires_grad)
    torch.testing.assert_close(list(ours(image).values()), theirs(image))
    torch.testing.assert_close(gradients(ours, image), gradients(theirs, image))


@pytest.mark.parametrize("training", [True, False])
def test_norms_that_learn_are_as_they_were(training):
    ours, theirs = both("resnet10t")
    image = torch.randn(2, 3, 40, 56, dtype=torch.float64)
    ours.train(training), theirs.train(training)
    torch.testing.assert_close(gradients(ours, image), gradients(theirs, image))
    torch.testing.assert_close(ours.body.state_dict(), theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(list(ours(image).values()), theirs(image))


def test_a_bias_before_the_norm():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4)).double().eval()
    layers[1].running_mean.normal_(), layers[1].requires_grad_(False)
    image = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    expected = gradients(layers, image)
    layers.zero_grad()
    fold_fixed_norms(layers)
    assert isinstance(layers[0], FoldingConv2d)
    torch.testing.assert_close(gradients(layers, image), expected)


def test_a_norm_that_is_replaced_is_not_applied_twice():
    ours, theirs = both("resnet10t", freeze_bn=True)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(ours).eval()
    image = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(list(converted(image).values()), theirs.eval()(image))


def test_copies_have_norms_of_their_own():
    ours, _ = both("resnet10t", freeze_bn=True)
    image = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        expected = ours(image)["res5"]
        twin = copy.deepcopy(ours)
        for norm in ours.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.fill_(9)
        torch.testing.assert_close(twin(image)["res5"], expected)
        assert not torch.allclose(ours(image)["res5"], expected)


def test_nothing_is_kept_for_norms():
    ours, theirs = both("resnet50", freeze_bn=True)
    theirs.eval()
    for parameter, known in zip(theirs.parameters(), ours.parameters(), strict=True):
        parameter.requires_grad_(known.requires_grad)
    image = torch.randn(1, 3, 64, 64, dtype=torch.float64)

    def kept(model: nn.Module) -> int:
        weights, sizes = {p.data_ptr() for p in model.parameters()}, {}

        def keep(x):
            if x.data_ptr() not in weights:
                sizes[x.data_ptr()] = x.nbytes
            return x

        with saved_tensors_hooks(keep, lambda x: x):
            model(image)
        return sum(sizes.values())

    assert kept(ours) < 0.7 * kept(theirs)


def test_norms_apart_for_a_while():
    ours, theirs = both("resnet10t", freeze_bn=True)
    image = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    seen = []
    ours.body.layer4[0].bn1.register_forward_hook(lambda norm, x, y: seen.append(y is x[0]))
    with torch.no_grad():
        expected = theirs.eval()(image)
        for _ in range(2):
            torch.testing.assert_close(list(ours(image).values()), expected)
            with norms_apart(ours):
                torch.testing.assert_close(list(ours(image).values()), expected)
    assert seen == [True, False, True, False]

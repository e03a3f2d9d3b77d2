"""Where masks are compared at points, and what is read there, against F.grid_sample."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_targets import random_targets

from d2_psformer.modeling.criterion import UncertainPoints, UniformPoints
from d2_psformer.modeling.criterion.points import read_logits, read_truths
from d2_psformer.utils.errors import UserError


def grid_sample(masks: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(N, H, W) at (N, P, 2) shares of the sides."""
    return F.grid_sample(masks[:, None].float(), 2 * points[:, None] - 1, align_corners=False)[
        :, 0, 0
    ]


class Recorder:
    """Uniform numbers that are kept."""

    def __init__(self):
        self.drawn = []

    def __call__(self, shape, device=None):
        self.drawn.append(torch.rand(shape))
        return self.drawn[-1]

    @property
    def shapes(self):
        return [tuple(x.shape) for x in self.drawn]


def sample(sampler, masks: list[torch.Tensor], targets):
    return sampler.prepare(targets, masks[0].shape[-2:])(masks)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    shared=st.booleans(),
    beyond=st.sampled_from([0.0, 0.2]),
)
def test_truths_are_read_bilinearly(seed, height, width, shared, beyond):
    """Outside of the canvas they are zero."""
    torch.manual_seed(seed)
    masks = torch.rand(3, height, width) < 0.5
    points = (1 + 2 * beyond) * torch.rand(1 if shared else 3, 20, 2) - beyond
    expected = grid_sample(masks, points.expand(3, -1, -1))
    torch.testing.assert_close(read_truths(masks, points), expected, atol=1e-5, rtol=0)


def test_the_centre_of_a_pixel_is_its_value():
    masks = torch.rand(2, 3, 5) < 0.5
    y, x = torch.meshgrid((torch.arange(3) + 0.5) / 3, (torch.arange(5) + 0.5) / 5, indexing="ij")
    points = torch.stack([x, y], dim=-1).view(1, 15, 2)
    torch.testing.assert_close(read_truths(masks, points), masks.flatten(1).float())
    torch.testing.assert_close(
        read_logits(masks[None].float(), points)[0], masks.flatten(1).float()
    )


def test_all_masks_of_an_image_share_uniform_points():
    rand, targets = Recorder(), [random_targets(3, size=(16, 24)), random_targets(0, size=(16, 24))]
    masks = [torch.randn(5, 4, 6), torch.randn(5, 4, 6)]
    pairs = sample(UniformPoints(7, rand=rand), masks, targets)
    assert rand.shapes == [(1, 7, 2)] * 2
    for pair, points, *sampled in zip(
        pairs, rand.drawn, masks, [t.masks for t in targets], strict=True
    ):
        for values, maps in zip(pair, sampled, strict=True):
            assert values.shape == (len(maps), 7)
            torch.testing.assert_close(values, grid_sample(maps, points.expand(len(maps), -1, -1)))


def test_uncertain_points_are_those_of_the_smallest_logits():
    rand, targets = Recorder(), [random_targets(n, size=(16, 24)) for n in (2, 0, 1)]
    masks = [torch.randn(n, 4, 6) for n in (2, 0, 1)]
    sampler = UncertainPoints(8, oversample_ratio=3.0, importance_sample_ratio=0.75, rand=rand)
    [(predicted, truth)] = sample(sampler, masks, targets)
    assert rand.shapes == [(3, 24, 2), (3, 2, 2)] and predicted.shape == truth.shape == (3, 8)
    all_masks, truths = torch.cat(masks), torch.cat([t.masks for t in targets])
    many, few = rand.drawn
    for i in range(3):
        order = grid_sample(all_masks[i : i + 1], many[i : i + 1])[0].abs().argsort()[:6]
        points = torch.cat([many[i, order], few[i]])[None]
        for ours, maps in ((predicted, all_masks), (truth, truths)):
            expected = grid_sample(maps[i : i + 1], points)[0]
            torch.testing.assert_close(ours[i].sort().values, expected.sort().values)


@pytest.mark.parametrize(
    "sampler", [UniformPoints(9), UncertainPoints(9)], ids=["uniform", "uncertain"]
)
def test_points_lie_in_the_valid_image(sampler):
    """An image alone has the same samples as in a padded batch, whose padding is empty."""
    alone = random_targets(3, size=(16, 24))
    masks = torch.randn(3, 4, 6)
    padded, on_canvas = (
        F.pad(masks, (0, 2, 0, 4)),
        replace(alone, masks=F.pad(alone.masks, (0, 8, 0, 16))),
    )
    samples = []
    for case in ((sampler, [masks], [alone]), (sampler, [padded], [on_canvas])):
        torch.manual_seed(3)
        samples.append(sample(*case))
    torch.testing.assert_close(*samples)
    torch.manual_seed(3)
    [(counted, _)] = sample(replace(sampler, count_padding=True), [padded], [on_canvas])
    assert (counted == 0).any(1).all(), "points in the padding"


def test_the_choice_of_points_has_no_gradient():
    """A sampled logit depends on the four cells around it, and on no other."""
    masks = torch.randn(1, 6, 6, requires_grad=True)
    [(predicted, _)] = sample(UncertainPoints(1), [masks], [random_targets(1)])
    predicted.sum().backward()
    assert (masks.grad != 0).sum() <= 4
    assert masks.grad.sum() <= 1 + 1e-6


@pytest.mark.parametrize("sampler", [UniformPoints(6), UncertainPoints(6)])
def test_nothing_to_sample_keeps_the_graph(sampler):
    masks = torch.randn(0, 4, 6, requires_grad=True)
    [(predicted, truth)] = sample(sampler, [masks], [random_targets(0)])
    assert predicted.shape == truth.shape == (0, 6)
    predicted.sum().backward()
    assert masks.grad is not None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("num_points", 0), ("oversample_ratio", 0.9), ("importance_sample_ratio", 1.1)],
)
def test_wrong_numbers_are_refused(name, wrong):
    with pytest.raises(UserError, match=f"^{name} is {wrong}: "):
        UncertainPoints(**{name: wrong})


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_points_may_be_uniform_or_uncertain(share):
    """As in the official code."""
    masks = torch.linspace(-4, 4, 20).expand(2, 20, 20)
    targets = [random_targets(2, size=(40, 40))]
    sampler = UncertainPoints(100, importance_sample_ratio=share)
    ((predicted, truth),) = sampler.prepare(targets, (20, 20))([masks])
    assert predicted.shape == truth.shape == (2, 100)
    # A third of the interval is kept, about its middle.
    assert (predicted.abs().max() < 2) == (share == 1)

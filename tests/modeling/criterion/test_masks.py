"""How masks are sampled for costs and losses."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from small_targets import random_targets

from d2_psformer.modeling.criterion import DenseMasks, Targets, resize_masks
from d2_psformer.modeling.criterion.masks import MaskSampler
from d2_psformer.utils.errors import UserError


def test_resized_masks_have_soft_edges():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :, :1] = True
    small = resize_masks(mask, (2, 2))
    assert small.dtype == torch.float32
    assert small[0].tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_no_masks_keep_their_graph():
    masks = torch.rand(0, 4, 4, requires_grad=True)
    small = resize_masks(masks, (2, 3))
    assert small.shape == (0, 2, 3)
    small.sum().backward()
    assert masks.grad is not None


def test_masks_of_the_right_size_stay_as_they_are():
    masks = torch.rand(2, 4, 6)
    assert torch.equal(resize_masks(masks, (4, 6)), masks)


def sample(sampler: MaskSampler, masks: list[torch.Tensor], targets: list[Targets]):
    return sampler.prepare(targets, masks[0].shape[-2:])(masks)


def test_dense_masks_have_a_multiple_of_the_predicted_size():
    masks, target = torch.rand(2, 4, 6), random_targets(3, size=(32, 48))
    [(predicted, truth)] = sample(DenseMasks(scale=2), [masks], [target])
    expected = F.interpolate(masks[None], (8, 12), mode="bilinear")[0].flatten(1)
    torch.testing.assert_close(predicted, expected)
    expected = F.interpolate(target.masks[None].float(), (8, 12), mode="bilinear")[0].flatten(1)
    torch.testing.assert_close(truth, expected)


def test_predictions_at_the_size_of_the_canvas():
    masks, target = torch.rand(2, 5, 6), random_targets(3, size=(18, 23))
    [(predicted, truth)] = sample(DenseMasks(scale=None), [masks], [target])
    expected = F.interpolate(masks[None], (18, 23), mode="bilinear")[0].flatten(1)
    torch.testing.assert_close(predicted, expected)
    assert torch.equal(truth, target.masks.flatten(1).float())


def test_truths_reduced_to_the_nearest_pixel():
    """Row floor(i * H / h), as MaskFormer reads them."""
    masks, target = torch.rand(2, 5, 6), random_targets(3, size=(18, 23))
    [(predicted, truth)] = sample(DenseMasks(truth_mode="nearest"), [masks], [target])
    assert torch.equal(predicted, masks.flatten(1))
    rows, columns = [i * 18 // 5 for i in range(5)], [i * 23 // 6 for i in range(6)]
    expected = target.masks[:, rows][:, :, columns]
    assert truth.dtype == torch.float32 and torch.equal(truth, expected.flatten(1).float())


@pytest.mark.parametrize("scale", [1, 2, None])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_padding_is_cut_off(scale, mode):
    """An image alone has the same samples as in a padded batch with a larger one."""
    small, large = random_targets(3, size=(16, 24)), random_targets(2, size=(32, 32))
    masks = torch.rand(5, 4, 6)
    # The padded cells repeat the last ones, so that they do not matter to enlarged masks.
    padded = F.pad(masks[None], (0, 2, 0, 4), mode="replicate")[0]
    on_canvas = replace(small, masks=F.pad(small.masks, (0, 8, 0, 16)))
    sampler = DenseMasks(scale, truth_mode=mode)
    [alone] = sample(sampler, [masks], [small])
    both = sample(sampler, [torch.rand(1, 8, 8), padded], [large, on_canvas])
    torch.testing.assert_close(both[1], alone)
    counted = sample(replace(sampler, count_padding=True), [padded], [on_canvas])
    torch.testing.assert_close(
        counted, sample(sampler, [padded], [replace(on_canvas, image_size=(32, 32))])
    )


@pytest.mark.parametrize(("valid", "cells"), [(23, 6), (24, 7), (98, 25), (122, 31)])
def test_a_cell_that_is_partly_valid_is_kept(valid, cells):
    target = replace(random_targets(1, size=(122, 8)), image_size=(valid, 8))
    [(predicted, truth)] = sample(DenseMasks(), [torch.rand(2, 31, 2)], [target])
    assert predicted.shape == (2, cells * 2) and truth.shape == (1, cells * 2)


def test_a_mode_that_does_not_exist():
    with pytest.raises(UserError, match="truth_mode is 'cubic'"):
        DenseMasks(truth_mode="cubic")

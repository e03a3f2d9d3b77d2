"""How masks are sampled for costs and losses."""

import torch
import torch.nn.functional as F

from d2_psformer.modeling.criterion import DenseMasks, resize_masks


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
    assert torch.equal(DenseMasks().predictions(masks), masks.flatten(1))


def test_dense_masks_have_a_multiple_of_the_predicted_size():
    fine, masks, truth = DenseMasks(scale=2), torch.rand(2, 4, 6), torch.rand(3, 32, 48) < 0.5
    expected = F.interpolate(masks[None], (8, 12), mode="bilinear")[0].flatten(1)
    torch.testing.assert_close(fine.predictions(masks), expected)
    expected = F.interpolate(truth[None].float(), (8, 12), mode="bilinear")[0].flatten(1)
    torch.testing.assert_close(fine.targets(truth, (4, 6)), expected)

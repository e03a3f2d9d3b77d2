"""Cross-entropy of every pixel against torch's."""

import pytest
import torch
import torch.nn.functional as F
from small_targets import image_targets

from d2_psformer.modeling.criterion import IGNORE, PixelCrossEntropy
from d2_psformer.utils.errors import UserError


def test_the_mean_over_the_pixels_with_a_class_in_every_layer():
    targets = [image_targets(0, 3, 6), image_targets(2, size=(20, 30))]
    logits = [torch.randn(2, 7, 8, 12, requires_grad=True) for _ in range(3)]
    losses = PixelCrossEntropy(weight=2.0)(logits, targets)
    assert list(losses) == ["loss_sem_seg_0", "loss_sem_seg_1", "loss_sem_seg"]
    truth = torch.stack([t.semantic for t in targets])
    assert (truth[1, 20:] == IGNORE).all(), "padding"
    for layer, loss in zip(logits, losses.values(), strict=True):
        enlarged = F.interpolate(layer, size=(32, 48), mode="bilinear", align_corners=False)
        expected = 2 * F.cross_entropy(enlarged, truth, ignore_index=255)
        torch.testing.assert_close(loss, expected)
        gradients = (torch.autograd.grad(x, layer)[0] for x in (loss, expected))
        torch.testing.assert_close(*gradients)


def test_a_canvas_that_the_stride_does_not_divide():
    """The official loss fails there. The enlarged logits stand over the pixels that they see."""
    [target] = [image_targets(0, 3)]
    target = target.__class__(
        target.classes, target.boxes, target.masks[:, :30, :45], target.is_thing, (30, 45)
    )
    logits = torch.randn(1, 7, 8, 12)
    enlarged = F.interpolate(logits, scale_factor=4, mode="bilinear")[..., :30, :45]
    expected = F.cross_entropy(enlarged, target.semantic[None], ignore_index=255)
    torch.testing.assert_close(PixelCrossEntropy()([logits], [target])["loss_sem_seg"], expected)


def test_images_without_a_class_have_no_loss_and_a_gradient():
    logits = torch.randn(1, 7, 8, 12, requires_grad=True)
    loss = PixelCrossEntropy()([logits], [image_targets()])["loss_sem_seg"]
    loss.backward()
    assert loss == 0 and logits.grad is not None and not logits.grad.any()


def test_half_precision_logits_are_compared_in_full():
    logits, targets = torch.randn(1, 7, 8, 12), [image_targets(0, 3)]
    with torch.autocast("cpu", torch.bfloat16):
        half = PixelCrossEntropy()([logits.bfloat16()], targets)
    whole = PixelCrossEntropy()([logits.bfloat16().float()], targets)
    torch.testing.assert_close(half, whole)


def test_a_negative_weight_is_refused():
    with pytest.raises(UserError, match="weight is -1"):
        PixelCrossEntropy(weight=-1.0)

"""Terms of boxes."""

from dataclasses import dataclass

from torch import Tensor

from ...layers import box_cxcywh_to_xyxy, generalized_box_iou
from .targets import MatchedTargets, Targets
from .terms import Term


@dataclass(frozen=True)
class BoxL1(Term):
    """L1 distance of normalised boxes (cx, cy, w, h)."""

    name = "loss_bbox"
    reads = "boxes"

    def cost(self, predicted: Tensor, truth: Targets) -> Tensor:
        """predicted: (Q, 4)."""
        return (predicted[:, None] - truth.boxes).abs().sum(-1)

    def loss(self, predicted: Tensor, truth: MatchedTargets) -> Tensor:
        """predicted: (M, 4) of the matched queries."""
        return (predicted - truth.boxes).abs().sum()


@dataclass(frozen=True)
class BoxOverlap(Term):
    """1 - generalised IoU of boxes, taken in pixels of the valid image as in the reference."""

    name = "loss_giou"
    reads = "boxes"

    def cost(self, predicted: Tensor, truth: Targets) -> Tensor:
        """predicted: (Q, 4)."""
        return 1 - _giou_in_pixels(predicted[:, None], truth.boxes, truth.scale)

    def loss(self, predicted: Tensor, truth: MatchedTargets) -> Tensor:
        """predicted: (M, 4) of the matched queries."""
        return (1 - _giou_in_pixels(predicted, truth.boxes, truth.scale)).sum()


def _giou_in_pixels(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    return generalized_box_iou(box_cxcywh_to_xyxy(a) * scale, box_cxcywh_to_xyxy(b) * scale)

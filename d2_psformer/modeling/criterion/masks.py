"""Where predicted masks and truths are compared."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_choice
from .targets import Targets

# From the predictions (M, h, w) of every image to pairs (M, P) and (N, P), float32, of sampled
# predictions and truths: of every image, or of all images at once.
Sample = Callable[[list[Tensor]], list[tuple[Tensor, Tensor]]]


class MaskSampler(ABC):
    """Makes masks vectors of P values, the predictions and the truths at the same places."""

    @abstractmethod
    def prepare(self, targets: list[Targets], size: tuple[int, int]) -> Sample:
        """Do what does not depend on the predictions, once for all layers of one match.

        Args:
            targets: the segments of every image.
            size: (h, w) of the predictions.
        """


@dataclass(frozen=True)
class DenseMasks(MaskSampler):
    """All pixels, at ``scale`` times the predicted size.

    Predictions are resized bilinearly.

    Attributes:
        scale: None for the size of the canvas.
        truth_mode: how truths are resized: "bilinear" (soft edges) or "nearest".
        count_padding: sample the whole canvas, not the valid image alone.
    """

    scale: int | None = 1
    truth_mode: str = "bilinear"
    count_padding: bool = False

    def __post_init__(self):
        check_choice(("bilinear", "nearest"), truth_mode=self.truth_mode)

    def prepare(self, targets: list[Targets], size: tuple[int, int]) -> Sample:
        canvas = targets[0].masks.shape[-2:]
        size = canvas if self.scale is None else [self.scale * side for side in size]
        truths = []
        for target in targets:
            valid = canvas if self.count_padding else target.image_size
            rows, columns = (
                math.ceil(x * y / z) for x, y, z in zip(valid, size, canvas, strict=True)
            )
            resized = resize_masks(target.masks, size, self.truth_mode)
            truths.append(resized[:, :rows, :columns])
        return partial(_dense, truths=truths, size=size)


def _dense(
    predicted: list[Tensor], truths: list[Tensor], size: tuple[int, int]
) -> list[tuple[Tensor, Tensor]]:
    """The predictions at ``size``, cut like the truths."""
    pairs = []
    for masks, truth in zip(predicted, truths, strict=True):
        rows, columns = truth.shape[-2:]
        resized = resize_masks(masks, size)[:, :rows, :columns]
        pairs.append((resized.flatten(1), truth.flatten(1)))
    return pairs


def resize_masks(masks: Tensor, size, mode: str = "bilinear") -> Tensor:
    """(N, H, W) of any type -> (N, *size) float32; bilinear gives bool masks soft edges."""
    if not len(masks):  # F.interpolate refuses these; the graph of the masks is kept
        return masks.float()[:, :1, :1].expand(-1, *size)
    if tuple(size) == tuple(masks.shape[-2:]):
        return masks.float()
    if mode == "nearest" and masks.dtype == torch.bool:  # no float copy of the large masks
        return F.interpolate(masks.view(torch.uint8)[None], tuple(size), mode=mode)[0].float()
    return F.interpolate(masks.float()[None], tuple(size), mode=mode)[0]

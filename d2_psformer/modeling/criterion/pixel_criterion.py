"""The loss of models that classify every pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.checks import check_at_least
from .counts import mean_over_processes
from .set_criterion import layer_suffix
from .targets import IGNORE, Targets


class PixelCrossEntropy:
    """Cross-entropy of every pixel, the mean over the pixels of all processes with a class.

    Args:
        weight: factor of the loss.
        stride: pixels a cell of the logits, along each side.
    """

    def __init__(self, weight: float = 1.0, stride: int = 4):
        check_at_least(0, weight=weight)
        self.weight, self.stride = weight, stride

    def __call__(self, logits: list[Tensor], targets: list[Targets]) -> dict[str, Tensor]:
        """
        Args:
            logits: (B, K, h, w) of every supervised layer, the best one last. Enlarged, they cover
                the canvas; what is beyond it is cut off.

        Returns:
            ``loss_sem_seg``, and with a suffix those of the layers before the last.
        """
        truth = torch.stack([target.semantic for target in targets])
        pixels = mean_over_processes((truth != IGNORE).sum().float()).clamp(min=1)
        return {
            f"loss_sem_seg{layer_suffix(number, len(logits))}": self._sum(layer, truth) / pixels
            for number, layer in enumerate(logits)
        }

    def _sum(self, logits: Tensor, truth: Tensor) -> Tensor:
        height, width = truth.shape[-2:]
        with torch.autocast(logits.device.type, enabled=False):
            enlarged = F.interpolate(logits.float(), scale_factor=self.stride, mode="bilinear")
            enlarged = enlarged[..., :height, :width]
            return self.weight * F.cross_entropy(
                enlarged, truth, ignore_index=IGNORE, reduction="sum"
            )

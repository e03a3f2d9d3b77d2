"""Swin's windows on maps of any size, as its authors' detection code cuts them."""

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn


class WholeWindowBlock(SwinTransformerBlock):
    """Fills a map up to whole windows before it is shifted; timm shifts first, then fills.

    The two differ wherever a side is no multiple of the window.
    """

    def _attn(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        rows, columns = self.window_size
        x = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
        return super()._attn(x)[:, :height, :width]


def use_whole_windows(model: nn.Module) -> None:
    """Turn every Swin block of a timm model into a :class:`WholeWindowBlock`, in place."""
    for module in model.modules():
        if type(module) is SwinTransformerBlock:
            module.__class__ = WholeWindowBlock

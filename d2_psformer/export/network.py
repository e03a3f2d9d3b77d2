"""The part of a model that is exported: from resized pixels to classes and masks."""

import torch
from torch import Tensor, nn

from ..data.deeplab2_augmentation import GREY
from ..modeling.meta_arch.segmenter import Segmenter
from ..modeling.outputs import SegmenterOutputs
from ..ops.backends import plain_operators

Size = tuple[int, int]


class ExportedNetwork(nn.Module):
    """Normalisation and ``predict``; postprocessing is in :mod:`d2_psformer.deployment`."""

    def __init__(self, model: Segmenter, *, bgr: bool = False, grey_padding: bool = False):
        """
        Args:
            bgr: the model reads blue, green, red (INPUT.FORMAT).
            grey_padding: padding is grey (INPUT.DEEPLAB2), and not what the normaliser has.
        """
        super().__init__()
        self.model, self.bgr = model, bgr
        normalizer = model.normalizer
        grey = (GREY - normalizer.mean) / normalizer.std
        fill = grey if grey_padding else normalizer.fill
        self.register_buffer("fill", fill, persistent=False)

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """
        Args:
            images: float32 (B, 3, H, W), RGB, 0...255, each in the upper left corner.
            sizes: int64 (B, 2), height and width of each; the rest of the canvas is padding.

        Returns:
            The last layer's pixel_logits (B, K, h, w); or scores (B, N), classes (B, N), which are
            contiguous ids, and masks (B, N, h, w); or probabilities (B, N, K + 1), "no object"
            last, and masks.
        """
        height, width = images.shape[-2:]
        below = torch.arange(height, device=images.device)[:, None] >= sizes[:, :1, None]
        right = torch.arange(width, device=images.device) >= sizes[:, 1:, None]
        padding = below | right
        normalizer = self.model.normalizer
        pixels = ((images.flip(1) if self.bgr else images) - normalizer.mean) / normalizer.std
        return named_outputs(
            self.model.predict(pixels.where(~padding[:, None], self.fill), padding)
        )

    @torch.no_grad()
    def kinds(self) -> tuple[tuple[str, ...], str | None]:
        """Names of the outputs, and the ``mask_kind`` of masks, from a run on a small canvas."""
        normalizer = self.model.normalizer
        side = 64 * max(normalizer.size_divisibility // 64, 1) + normalizer.more
        outputs = self.model.predict(self.fill.new_zeros(1, 3, side, side))
        kind = next((queries.mask_kind for queries in outputs.queries.values()), None)
        return tuple(named_outputs(outputs)), kind


def named_outputs(outputs: SegmenterOutputs) -> dict[str, Tensor]:
    """See :meth:`ExportedNetwork.forward`."""
    if outputs.pixel_logits:
        return {"pixel_logits": outputs.pixel_logits[-1]}
    sets = list(outputs.queries.values())
    masks = torch.cat([queries.masks[-1] for queries in sets], 1)
    if sets[0].classes is None:
        return {"probabilities": sets[0].logits[-1].softmax(-1), "masks": masks}
    scores = torch.cat([queries.logits[-1][..., 0].sigmoid() for queries in sets], 1)
    classes = torch.cat([queries.classes for queries in sets], 1)
    return {"scores": scores, "classes": classes, "masks": masks}


def trace(network: ExportedNetwork, size: Size, fixed: bool) -> torch.export.ExportedProgram:
    """Export the network with operators of PyTorch alone.

    Args:
        size: height and width of the canvas that is traced.
        fixed: the program takes one image of this size alone; else any number of any size.
    """
    # An example of one image would fix the batch to it.
    images = torch.zeros(1 if fixed else 2, 3, *size, device=network.fill.device)
    sizes = torch.tensor([size] * len(images), device=images.device)
    shapes = None
    if not fixed:
        batch, side = torch.export.Dim("batch", min=1), torch.export.Dim.AUTO
        shapes = {"images": {0: batch, 2: side, 3: side}, "sizes": {0: batch}}
    with torch.no_grad(), plain_operators():
        return torch.export.export(
            network.eval(), (images, sizes), dynamic_shapes=shapes, strict=False
        )

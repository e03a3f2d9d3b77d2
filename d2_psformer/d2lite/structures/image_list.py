"""Images of several sizes as one padded batch."""

from typing import Any

import torch
import torch.nn.functional as F


class ImageList:
    """A batch (N,...,H,W) and the (height, width) of each image before padding."""

    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]):
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> torch.Tensor:
        """Image ``idx`` without its padding, (...,h,w)."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        """The batch on another device or of another dtype."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: list[torch.Tensor], size_divisibility: int = 0, pad_value: float = 0.0
    ) -> "ImageList":
        """Pad images (...,h,w) at the right and at the bottom to one size.

        The common size is the largest height and width, rounded up to a multiple of
        ``size_divisibility``.
        """
        assert len(tensors) > 0, "An ImageList needs at least one image."
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        if size_divisibility > 1:
            height = -(-height // size_divisibility) * size_divisibility
            width = -(-width // size_divisibility) * size_divisibility
        padded = [
            F.pad(image, [0, width - w, 0, height - h], value=pad_value)
            for image, (h, w) in zip(tensors, sizes, strict=True)
        ]
        return ImageList(torch.stack(padded), sizes)

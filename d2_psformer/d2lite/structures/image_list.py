"""Images of several sizes as one padded batch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import device  # TorchScript knows the type under this name only


class ImageList:
    """A batch (N,...,H,W) and the (height, width) of each image before padding."""

    def __init__(self, tensor: torch.Tensor, image_sizes: list[tuple[int, int]]):
        self.tensor = tensor
        self.image_sizes = image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> torch.Tensor:
        """Image ``idx`` without its padding, (...,h,w)."""
        size = self.image_sizes[idx]
        return self.tensor[idx, ..., : size[0], : size[1]]

    @torch.jit.unused
    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        """The batch on another device or of another dtype."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> device:
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: list[torch.Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: dict[str, int] | None = None,
    ) -> "ImageList":
        """Pad images (...,h,w) at the right and at the bottom to one size.

        The common size is the largest height and width, or the square of side
        ``padding_constraints["square_size"]`` if that is positive, rounded up to a multiple of
        ``size_divisibility`` (which ``padding_constraints["size_divisibility"]`` overrides).
        """
        assert len(tensors) > 0, "An ImageList needs at least one image."
        height = max([image.shape[-2] for image in tensors])
        width = max([image.shape[-1] for image in tensors])
        if padding_constraints is not None:
            square = padding_constraints.get("square_size", 0)
            if square > 0:
                height = width = square
            size_divisibility = padding_constraints.get("size_divisibility", size_divisibility)
        if size_divisibility > 1:
            height = -(-height // size_divisibility) * size_divisibility
            width = -(-width // size_divisibility) * size_divisibility
        padded = []
        for image in tensors:
            padding = [0, width - image.shape[-1], 0, height - image.shape[-2]]
            padded.append(F.pad(image, padding, value=pad_value))
        sizes = [(image.shape[-2], image.shape[-1]) for image in tensors]
        return ImageList(torch.stack(padded), sizes)

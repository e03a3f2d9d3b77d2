"""Instance masks as bitmaps."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from .boxes import Boxes


def polygons_to_bitmask(polygons: Sequence[Any], height: int, width: int) -> np.ndarray:
    """Draw polygons, each a flat [x0, y0, x1, y1, ...], into one bool mask (height, width)."""
    if len(polygons) == 0:
        return np.zeros((height, width), dtype=bool)
    outlines = [np.asarray(polygon, dtype=np.float64).tolist() for polygon in polygons]
    codes = mask_util.frPyObjects(outlines, height, width)
    return mask_util.decode(mask_util.merge(codes)).astype(bool)


class BitMasks:
    """N masks of one image as a bool tensor (N,H,W); indexed and moved like a tensor."""

    def __init__(self, tensor: torch.Tensor | np.ndarray):
        """``tensor`` is (N,H,W); every nonzero value counts as true."""
        tensor = torch.as_tensor(tensor, dtype=torch.bool)
        assert tensor.dim() == 3, f"BitMasks are (N,H,W), not {tuple(tensor.shape)}."
        self.image_size = tensor.shape[1:]
        self.tensor = tensor

    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        """These masks on another device."""
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def nonempty(self) -> torch.Tensor:
        """(N,) bool: the mask has a pixel."""
        return self.tensor.flatten(1).any(dim=1)

    def get_bounding_boxes(self) -> Boxes:
        """The tightest boxes around the masks, pixels inclusive; zeros for empty masks."""
        x_range = _true_range(self.tensor.any(dim=1))
        y_range = _true_range(self.tensor.any(dim=2))
        return Boxes(torch.stack([x_range, y_range], dim=2).flatten(1))

    @staticmethod
    def cat(bitmasks_list: list["BitMasks"]) -> "BitMasks":
        """All masks of a list, which has at least one element, in one."""
        return BitMasks(torch.cat([masks.tensor for masks in bitmasks_list], dim=0))

    def __getitem__(self, item: Any) -> "BitMasks":
        """Masks at an int, a slice, or a tensor of indices or bools; may share memory."""
        if isinstance(item, int):
            return BitMasks(self.tensor[item].unsqueeze(0))
        chosen = self.tensor[item]
        assert chosen.dim() == 3, f"Indexing BitMasks by {item} gives {tuple(chosen.shape)}."
        return BitMasks(chosen)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.tensor

    def __repr__(self) -> str:
        return f"BitMasks(num_instances={len(self)})"


def _true_range(line: torch.Tensor) -> torch.Tensor:
    """(N,2) float32: first true index and one past the last of each row of (N,L); 0, 0 if none."""
    length = line.shape[1]
    position = torch.arange(length, device=line.device, dtype=torch.float32)
    end = torch.where(line, position + 1, 0).amax(dim=1)
    start = torch.where(line, position, length).amin(dim=1)
    return torch.stack([torch.minimum(start, end), end], dim=1)

"""Axis-aligned boxes in absolute coordinates."""

from collections.abc import Iterator, Sequence
from enum import IntEnum, unique
from typing import Any

import numpy as np
import torch


@unique
class BoxMode(IntEnum):
    """How four numbers describe a box; the values are those that data set dicts store."""

    XYXY_ABS = 0
    XYWH_ABS = 1
    XYXY_REL = 2
    XYWH_REL = 3

    @staticmethod
    def convert(box: Any, from_mode: "BoxMode | int", to_mode: "BoxMode | int") -> Any:
        """Convert a box (list or tuple of 4) or boxes (array or tensor, Nx4) between modes.

        Returns a new object of the type and dtype given. Only the absolute modes are converted:
        NotImplementedError for others.
        """
        if from_mode == to_mode:
            return box
        from_mode, to_mode = BoxMode(from_mode), BoxMode(to_mode)
        if {from_mode, to_mode} != {BoxMode.XYXY_ABS, BoxMode.XYWH_ABS}:
            raise NotImplementedError(f"Boxes are not converted from {from_mode!r} to {to_mode!r}.")
        sign = 1 if from_mode == BoxMode.XYWH_ABS else -1
        if isinstance(box, (list, tuple)):
            x, y, third, fourth = box
            return type(box)((x, y, third + sign * x, fourth + sign * y))
        boxes = box.clone() if isinstance(box, torch.Tensor) else np.array(box)
        boxes[..., 2:] += sign * boxes[..., :2]
        return boxes


class Boxes:
    """N boxes as rows (x0, y0, x1, y1) of a float32 tensor; indexed and moved like a tensor."""

    def __init__(self, tensor: torch.Tensor | np.ndarray | Sequence):
        """``tensor`` is Nx4, a tensor or anything that can become one."""
        tensor = torch.as_tensor(tensor, dtype=torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape((-1, 4))
        assert tensor.dim() == 2 and tensor.size(-1) == 4, f"Boxes are Nx4, not {tensor.size()}."
        self.tensor = tensor

    def to(self, device: torch.device) -> "Boxes":
        """These boxes on another device."""
        return Boxes(self.tensor.to(device=device))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def area(self) -> torch.Tensor:
        """(N,) areas in square pixels."""
        return (self.tensor[:, 2:] - self.tensor[:, :2]).prod(dim=1)

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """(N,) bool: both sides are longer than ``threshold``."""
        return ((self.tensor[:, 2:] - self.tensor[:, :2]) > threshold).all(dim=1)

    @classmethod
    def cat(cls, boxes_list: list["Boxes"]) -> "Boxes":
        """All boxes of a list in one; of an empty list, no boxes."""
        return cls(torch.cat([boxes.tensor for boxes in boxes_list]) if boxes_list else [])

    def __getitem__(self, item: Any) -> "Boxes":
        """Boxes at an int, a slice, or a tensor of indices or bools; may share memory."""
        if isinstance(item, int):
            return Boxes(self.tensor[item].view(1, -1))
        chosen = self.tensor[item]
        assert chosen.dim() == 2, f"Indexing Boxes by {item} gives no matrix."
        return Boxes(chosen)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.tensor

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"

"""Axis-aligned boxes in absolute coordinates."""

from enum import IntEnum, unique
from typing import Any

import numpy as np
import torch
from torch import device  # TorchScript knows the type under this name only


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
        signs = {
            (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS): -1,
            (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS): 1,
        }
        sign = signs.get((BoxMode(from_mode), BoxMode(to_mode)))
        if sign is None:
            raise NotImplementedError(
                f"Boxes are converted between {BoxMode.XYXY_ABS!r} and {BoxMode.XYWH_ABS!r} only, "
                f"not from {BoxMode(from_mode)!r} to {BoxMode(to_mode)!r}."
            )
        if isinstance(box, (list, tuple)):
            if len(box) != 4:
                raise ValueError(f"A box has 4 numbers, this has {len(box)}: {box}.")
            x, y, third, fourth = box
            return type(box)((x, y, third + sign * x, fourth + sign * y))
        boxes = box.clone() if isinstance(box, torch.Tensor) else np.array(box)
        boxes[..., 2:] += sign * boxes[..., :2]
        return boxes


class Boxes:
    """N boxes as rows (x0, y0, x1, y1) of a float32 tensor; indexed and moved like a tensor.

    TorchScript compiles this class, hence the annotations that are left out.
    """

    def __init__(self, tensor: torch.Tensor):
        """``tensor`` is Nx4, or anything that ``torch.as_tensor`` makes such a matrix of."""
        if not isinstance(tensor, torch.Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device=torch.device("cpu"))
        tensor = tensor.to(torch.float32)
        if tensor.numel() == 0:
            tensor = tensor.reshape((-1, 4))
        assert tensor.dim() == 2 and tensor.size(-1) == 4, f"Boxes are Nx4, not {tensor.size()}."
        self.tensor = tensor

    def clone(self) -> "Boxes":
        """A copy that shares no memory."""
        return Boxes(self.tensor.clone())

    def to(self, device: torch.device) -> "Boxes":
        """These boxes on another device."""
        return Boxes(self.tensor.to(device=device))

    @property
    def device(self) -> device:
        return self.tensor.device

    def area(self) -> torch.Tensor:
        """(N,) areas in square pixels."""
        box = self.tensor
        return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])

    def clip(self, box_size: tuple[int, int]) -> None:
        """Cut the boxes, in place, at the border of an image of (height, width)."""
        assert torch.isfinite(self.tensor).all(), "Boxes with infinite or NaN coordinates."
        height, width = box_size
        x = self.tensor[:, 0::2].clamp(min=0, max=width)
        y = self.tensor[:, 1::2].clamp(min=0, max=height)
        self.tensor = torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=-1)

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """(N,) bool: both sides are longer than ``threshold``."""
        sides = self.tensor[:, 2:] - self.tensor[:, :2]
        return (sides > threshold).all(dim=1)

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: int = 0) -> torch.Tensor:
        """(N,) bool: inside an image of (height, width) widened by ``boundary_threshold``."""
        height, width = box_size
        box = self.tensor
        return (
            (box[:, 0] >= -boundary_threshold)
            & (box[:, 1] >= -boundary_threshold)
            & (box[:, 2] < width + boundary_threshold)
            & (box[:, 3] < height + boundary_threshold)
        )

    def get_centers(self) -> torch.Tensor:
        """(N,2) centres (x, y)."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Multiply x and y coordinates in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: list["Boxes"]) -> "Boxes":
        """All boxes of a list in one; of an empty list, no boxes."""
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))

    def __getitem__(self, item) -> "Boxes":
        """Boxes at an int, a slice, or a tensor of indices or bools; may share memory."""
        if isinstance(item, int):
            return Boxes(self.tensor[item].view(1, -1))
        chosen = self.tensor[item]
        assert chosen.dim() == 2, f"Indexing Boxes by {item} gives no matrix."
        return Boxes(chosen)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    @torch.jit.unused
    def __iter__(self):
        yield from self.tensor

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """(N,M) areas that each of N boxes shares with each of M."""
    first, second = boxes1.tensor[:, None], boxes2.tensor
    sides = torch.min(first[..., 2:], second[:, 2:]) - torch.max(first[..., :2], second[:, :2])
    return sides.clamp(min=0).prod(dim=2)


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """(N,M) intersection over union; 0 where nothing is shared, empty boxes included."""
    shared = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area() - shared
    return torch.where(shared > 0, shared / union, torch.zeros_like(shared))


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """(N,M) intersection over the area of the second box; 0 where nothing is shared."""
    shared = pairwise_intersection(boxes1, boxes2)
    return torch.where(shared > 0, shared / boxes2.area(), torch.zeros_like(shared))

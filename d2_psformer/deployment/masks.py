"""The masks of one image at the size of a result."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .interpolation import nearest, resize, stretch

Size = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Placement:
    """Where an image lies on the canvas that the network has read.

    Attributes:
        canvas, image, output: sizes of the canvas, of the image in its upper left corner, and of
            the result, pixels.
        stride: pixels of the canvas a cell of a mask.
        aligned: cell i is the pixel stride * i; else it is a square of pixels.
    """

    canvas: Size
    image: Size
    output: Size
    stride: int
    aligned: bool = False

    @property
    def whole_canvas(self) -> "Placement":
        return replace(self, image=self.canvas, output=self.canvas)

    def resized(self, maps: np.ndarray) -> np.ndarray:
        """Maps (..., h, w) of cells at the size of the result, by way of the canvas."""
        return self.cut(resize(maps, self.canvas, self.aligned))

    def cut(self, maps: np.ndarray) -> np.ndarray:
        """Maps of the canvas, cut to the image, at the size of the result."""
        height, width = self.image
        maps = maps[..., :height, :width]
        return nearest(maps, self.output) if self.aligned else resize(maps, self.output)


@dataclass(frozen=True)
class Masks:
    """
    Attributes:
        values: float32 (N, h, w), of cells.
        placement: of the image.
        kind: "score": values >= 0; "logit": a sigmoid after the resize gives probabilities;
            "softmax": a softmax over the masks after the resize gives shares.
    """

    values: np.ndarray
    placement: Placement
    kind: str

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> np.ndarray:
        """One mask at the size of the result, float32 (H, W)."""
        placement, cells = self.placement, self.values[index]
        if self.kind == "score":  # cells of padding are cut off before the only resize
            height, width = (math.ceil(side / placement.stride) for side in placement.image)
            return resize(cells[:height, :width], placement.output)
        resized = placement.resized(cells)
        if self.kind == "logit":
            return sigmoid(resized)
        return np.exp(np.minimum(resized - self._log_sum, 0))  # rounding may differ in the sum

    def peaks(self) -> np.ndarray:
        """(N,): no pixel of a mask is above it, rounding included."""
        if self.kind == "softmax":
            return np.ones(len(self), np.float32)
        peaks = self.values.max((1, 2))
        return (sigmoid(peaks) if self.kind == "logit" else peaks) * np.float32(1 + 1e-4)

    def strips(self, width: int = 64) -> Iterator[tuple[slice, np.ndarray]]:
        """Columns of the canvas, so many at a time, and all logits there, (N, H, width)."""
        (height, length), aligned = self.placement.canvas, self.placement.aligned
        wide = stretch(self.values, 2, length, aligned)
        for start in range(0, length, width):
            columns = slice(start, start + width)
            yield columns, stretch(wide[..., columns], 1, height, aligned)

    @cached_property
    def _log_sum(self) -> np.ndarray:
        """(H, W): the logarithm of the sum of exp over all masks."""
        sums = [np.log(np.exp(x - x.max(0)).sum(0)) + x.max(0) for _, x in self.strips()]
        return self.placement.cut(np.concatenate(sums, 1))


def sigmoid(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and 1 / infinity is 0
        return 1 / (1 + np.exp(-values))


def softmax(values: np.ndarray) -> np.ndarray:
    """Over the first axis."""
    powers = np.exp(values - values.max(0))
    return powers / powers.sum(0)

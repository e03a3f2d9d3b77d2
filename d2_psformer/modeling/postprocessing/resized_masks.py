"""Masks at the size of a result, made large one by one and only where they matter."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.aligned_corners import nearest_places
from ..outputs import LOGIT, SCORE, SOFTMAX

Size = tuple[int, int]
Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class BinaryMask:
    """The pixels of one mask above a threshold; all of them lie in a box.

    Attributes:
        box: rows and columns of the result.
        pixels: bool, of the box.
        area: () long, their number; can be 0.
        total: () float32, sum of the mask over them.
    """

    box: Box
    pixels: Tensor
    area: Tensor
    total: Tensor

    def tight_box(self) -> list[int]:
        """x0, y0, x1, y1 around at least one pixel, the last two exclusive."""
        top, left = (side.start for side in self.box)
        y, x = (self.pixels.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
        return [left + x[0], top + y[0], left + x[-1] + 1, top + y[-1] + 1]


class ResizedMasks:
    """Masks (N, h, w) as they are at (H, W) after bilinear interpolation.

    Interpolation goes along each row first and then between rows, and only this second step must
    know how far down a row lies. So columns are cut out between the two, and values are those of
    ``F.interpolate`` on whole masks: to the bit where H and W exceed 128 (PyTorch makes smaller
    images by another kernel, which rounds differently).

    Args:
        masks: (N, h, w), of any float type; interpolated in float32.
        size: (H, W).
        kind: SCORE: masks are >= 0; LOGIT: their values are the sigmoid, taken after the resize;
            SOFTMAX: the softmax over the N masks, taken after the resize.
        via: canvas and image: masks are resized to the size of the first and cut to that of the
            second before they are resized to ``size`` (MaskFormer).
        aligned_corners: interpolation is that of align_corners True, and after ``via`` every pixel
            shows the nearest one (MaX-DeepLab).
    """

    def __init__(
        self,
        masks: Tensor,
        size: Size,
        kind: str = SCORE,
        via: tuple[Size, Size] | None = None,
        aligned_corners: bool = False,
    ):
        self.size = tuple(size)
        self.kind = kind
        self.via = via
        self.aligned_corners = aligned_corners
        self._masks = masks.float()
        self._binary: dict[float, dict[int, BinaryMask]] = {}

    def __len__(self) -> int:
        return len(self._masks)

    def select(self, kept: Tensor) -> "ResizedMasks":
        """The masks with True in ``kept`` (N,)."""
        options = self.kind, self.via, self.aligned_corners
        return ResizedMasks(self._masks[kept], self.size, *options)

    def peaks(self) -> Tensor:
        """(N,): no value of the resized mask is above it; some room for rounding included."""
        if self.kind == SOFTMAX:
            return self._masks.new_ones(len(self))
        peaks = self._masks.flatten(1).amax(1)
        return (peaks.sigmoid() if self.kind == LOGIT else peaks) * (1 + 1e-4)

    @property
    def device(self) -> torch.device:
        return self._masks.device

    def above(self, threshold: float) -> dict[int, BinaryMask]:
        """Binary masks by index, made once; not those that are nowhere above the threshold."""
        if threshold not in self._binary:
            self._binary[threshold] = {
                index: _binary_mask(box, values, threshold)
                for index, box, values in self.regions(threshold)
            }
        return self._binary[threshold]

    def regions(
        self, threshold: float, order: Sequence[int] | None = None
    ) -> Iterator[tuple[int, Box, Tensor]]:
        """One mask after the other, in the box outside which it is not above the threshold.

        Args:
            order: which masks; default all.

        Returns:
            index, box and float32 values in the box; not of those that are nowhere above it.
        """
        boxes = self._boxes(threshold)
        for index in range(len(self)) if order is None else order:
            rows, columns = boxes[index]
            if rows.stop and columns.stop:
                resized = self._resize(index, rows, columns)
                yield index, (rows, columns), self._values(resized, rows, columns)

    def strips(self, width: int = 64) -> Iterator[tuple[slice, Tensor]]:
        """Columns of the result, so many at a time, and all masks there, (N, H, width) float32."""
        for columns, resized in self._resized_strips(width):
            if self.kind == SOFTMAX:
                yield columns, resized.softmax(0)
            else:
                yield columns, self._values(resized, slice(None), columns)

    def _resized_strips(self, width: int = 64) -> Iterator[tuple[slice, Tensor]]:
        wide = self._stretch(self._masks[None], 1)
        for start in range(0, self.size[1], width):
            columns = slice(start, start + width)
            yield columns, self._stretch(wide[..., columns], 0)[0]

    def _values(self, resized: Tensor, rows: slice, columns: slice) -> Tensor:
        if self.kind == SOFTMAX:
            # rounding may differ in the sum; a share is at most 1 all the same
            return (resized - self._log_sum[rows, columns]).clamp(max=0).exp()
        return resized.sigmoid() if self.kind == LOGIT else resized

    @functools.cached_property
    def _log_sum(self) -> Tensor:
        """(H, W): the logarithm of the sum of exp over all masks."""
        return torch.cat([strip.logsumexp(0) for _, strip in self._resized_strips()], 1)

    def _resize(self, index: int, rows: slice, columns: slice) -> Tensor:
        strip = self._stretch(self._masks[index, None, None], 1)[..., columns]
        return self._stretch(strip, 0)[0, 0, rows]

    def _stretch(self, masks: Tensor, axis: int) -> Tensor:
        """Resize (1, N, ., .) along the rows' (0) or the columns' (1) axis alone."""
        for number, (length, kept) in enumerate(self._steps(axis)):
            if self.aligned_corners and number:
                return pick_nearest(masks, 2 + axis, length)
            size = list(masks.shape[2:])
            size[axis] = length
            options = {"mode": "bilinear", "align_corners": self.aligned_corners}
            masks = F.interpolate(masks, size, **options).narrow(2 + axis, 0, kept)
        return masks

    def _steps(self, axis: int) -> list[tuple[int, int]]:
        """The lengths that an axis is resized to, each with how much of it is kept."""
        last = self.size[axis]
        if self.via is None:
            return [(last, last)]
        canvas, image = self.via[0][axis], self.via[1][axis]
        return [(canvas, image)] + [(last, last)] * (last != image)

    def _boxes(self, threshold: float) -> list[Box]:
        """Where each mask can be above the threshold; two small transfers from the device."""
        # a value of SOFTMAX depends on all masks
        if self.kind == SOFTMAX or self.aligned_corners:
            return [tuple(slice(0, length) for length in self.size)] * len(self)
        threshold = threshold * (1 - 1e-4)  # room for rounding
        if self.kind == LOGIT:
            threshold = float(torch.logit(torch.tensor(threshold, dtype=torch.float64)))
        sides = (
            [
                self._stretched(*span, axis)
                for span in _spans(self._masks.amax(2 - axis) > threshold)
            ]
            for axis in (0, 1)
        )
        return list(zip(*sides, strict=True))

    def _stretched(self, start: int, end: int, axis: int) -> slice:
        """The pixels along an axis that depend on a span of cells, and a few more."""
        if end == 0:
            return slice(0, 0)
        cells = self._masks.shape[1 + axis]
        for length, kept in self._steps(axis):
            scale = length / cells
            start = max(math.floor((start - 0.5) * scale) - 1, 0)
            end = min(math.ceil((end + 0.5) * scale) + 1, kept)
            cells = kept
        return slice(start, end) if start < end else slice(0, 0)


def pick_nearest(maps: Tensor, dim: int, length: int) -> Tensor:
    """Resize a dimension so that every pixel shows the nearest one, corners aligned."""
    if maps.shape[dim] == length:
        return maps
    places = torch.from_numpy(nearest_places(maps.shape[dim], length))
    return maps.index_select(dim, places.to(maps.device))


def _binary_mask(box: Box, values: Tensor, threshold: float) -> BinaryMask:
    pixels = values > threshold
    return BinaryMask(box, pixels, pixels.sum(), F.threshold(values, threshold, 0.0).sum())


def _spans(lines: Tensor) -> list[list[int]]:
    """First true place and the one after the last of each row of (N, L); 0, 0 if there is none."""
    length = lines.shape[1]
    place = torch.arange(length, device=lines.device)
    end = torch.where(lines, place + 1, 0).amax(1)
    start = torch.where(lines, place, length).amin(1)
    return torch.stack([torch.minimum(start, end), end], 1).tolist()

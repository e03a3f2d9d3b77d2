"""Where the location decoder reads, over the image."""

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..layers import box_cxcywh_to_xyxy
from .attention import SamplingPoints, SegmentAttention
from .attention_style import colours, draw_outline, heading, outline, pale
from .sheets import draw_sheet

_SIDE = 400  # longest of a panel, pixels
_LEAST_VIEW = 0.25  # of the image's sides
_MASS = 0.96  # of the attention lies inside the view, at least
_BEFORE, _AFTER = (0, 130, 255), (0, 150, 60)
_NOTE = "dark and large: much attention; blue: what the points start from; green: the layer's box"
_BITS = 4  # OpenCV takes places as whole numbers of 1/16 pixel


def draw_sampling_points(
    image: np.ndarray, ids: np.ndarray, attention: SegmentAttention, name: str = "segment"
) -> np.ndarray:
    """One panel for each layer of the location decoder: its query's sampling points and boxes.

    A point is the darker and larger the more attention it has. Blue is the box (or the cross)
    that the points are relative to, green the box that the layer predicts. All panels show the same
    part of the image, with all boxes and nearly all of the attention.

    Args, Returns:
        as for :func:`draw_attention_maps`.

    Raises:
        ValueError: the segment has no sampling points, as stuff.
    """
    if not attention.points:
        raise ValueError(f"Segment {attention.segment['id']} has no sampling points: use a thing.")
    view = _View(image, ids == attention.segment["id"], attention.points)
    most = max(float(layer.weights.max()) for layer in attention.points)
    panels = [view.draw(layer, most) for layer in attention.points]
    captions = [
        f"{x.layer}: at most {float(x.weights.max()):.2f} a point" for x in attention.points
    ]
    title = f"{heading(attention, name)}: points that the location decoder reads, all heads, levels"
    return draw_sheet(panels, captions, columns=3, title=title, note=_NOTE)


class _View:
    """The part of the image that matters, enlarged."""

    def __init__(self, image: np.ndarray, mask: np.ndarray, layers: list[SamplingPoints]):
        height, width = mask.shape
        low, high = _bounds(layers)
        corners = np.array([width, height]) * np.stack([low, high])
        (left, top), (right, bottom) = corners[0].astype(int), np.ceil(corners[1]).astype(int)
        factor = _SIDE / max(right - left, bottom - top)
        size = [max(1, round(side * factor)) for side in (right - left, bottom - top)]
        part = Image.fromarray(image[top:bottom, left:right])
        self.ground = pale(np.asarray(part.resize(size, Image.Resampling.BICUBIC)))
        self.outline = outline(mask[top:bottom, left:right], size)
        self.corner = np.array([left, top])
        self.scale = factor * np.array([width, height])
        self.shift = factor * self.corner

    def draw(self, layer: SamplingPoints, most: float) -> np.ndarray:
        """The panel of one layer; ``most`` is the weight of the darkest colour."""
        panel = np.ascontiguousarray(self.ground.astype(np.uint8))
        draw_outline(panel, self.outline)
        strength = layer.weights.flatten().cpu().numpy() / most
        places = self._pixels(layer.locations.flatten(0, 2))
        tones = colours(0.35 + 0.65 * strength).tolist()
        for i in strength.argsort():
            radius = round((2 + 5 * strength[i] ** 0.5) * 2**_BITS)
            cv2.circle(panel, places[i].tolist(), radius, tones[i], -1, cv2.LINE_AA, _BITS)
        if layer.box is not None:
            self._draw_place(panel, layer.box, _AFTER, 2)
        self._draw_place(panel, layer.reference, _BEFORE, 1)
        return panel

    def _draw_place(self, panel: np.ndarray, place: Tensor, colour: tuple, thickness: int) -> None:
        if len(place) == 2:
            centre = (self._pixels(place[None])[0] / 2**_BITS).round().astype(int).tolist()
            cv2.drawMarker(panel, centre, colour, cv2.MARKER_CROSS, 24, 2, cv2.LINE_AA)
            return
        first, second = self._pixels(box_cxcywh_to_xyxy(place).view(2, 2)).tolist()
        cv2.rectangle(panel, first, second, colour, thickness, cv2.LINE_AA, _BITS)

    def _pixels(self, places: Tensor) -> np.ndarray:
        """(N, 2) in [0, 1] of the image -> pixels of the panel, as OpenCV takes them."""
        pixels = places.cpu().numpy() * self.scale - self.shift - 0.5
        return (pixels * 2**_BITS).round().astype(int)


def _bounds(layers: list[SamplingPoints]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, y), in [0, 1], of the part of the image to show."""
    weights = torch.cat([x.weights.flatten() for x in layers])
    places = torch.cat([x.locations.flatten(0, 2) for x in layers])
    corners = [box_cxcywh_to_xyxy(x.box).view(2, 2) for x in layers if x.box is not None]
    for share in ((1 - _MASS) / 2, (1 + _MASS) / 2):
        corners.append(torch.stack([_quantile(x, weights, share) for x in places.unbind(1)])[None])
    corners = torch.cat(corners).cpu().numpy()
    low, high = corners.min(0), corners.max(0)
    room = np.maximum(0.08 * (high - low), (_LEAST_VIEW - (high - low)) / 2)
    return np.clip(low - room, 0, 1), np.clip(high + room, 0, 1)


def _quantile(values: Tensor, weights: Tensor, share: float) -> Tensor:
    """The value that ``share`` of the weight lies below."""
    order = values.argsort()
    below = weights[order].cumsum(0) / weights.sum()
    return values[order][min(int((below < share).sum()), len(order) - 1)]

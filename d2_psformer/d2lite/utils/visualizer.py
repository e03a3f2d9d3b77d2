"""Pictures of annotations and predictions: masks, boxes and class names over the image."""

import colorsys
import itertools
from collections.abc import Sequence
from enum import Enum, unique
from typing import Any

import cv2
import numpy as np
import torch

from ..data import MetadataCatalog
from ..structures import BitMasks, Boxes, Instances
from .vis_image import Color, VisImage, to_rgb

_OFF_WHITE = (1.0, 1.0, 0.94)
_SMALL_AREA = 1000  # Labels of smaller objects (pixels) stand beside them.
_GOLDEN_RATIO = 0.618034  # Hues one such step apart are never close to recent ones.
_SATURATION_AND_VALUE = ((0.85, 0.95), (0.60, 1.00), (0.95, 0.70))


@unique
class ColorMode(Enum):
    """How instances are coloured."""

    IMAGE = 0  # A colour of its own for each instance, transparent.
    SEGMENTATION = 1  # Shades of the class's colour, nearly opaque.
    IMAGE_BW = 2  # As IMAGE, with everything else in grey.


class Visualizer:
    """Draws on one image. Every ``draw_*`` and ``overlay_*`` returns the :class:`VisImage`.

    Args:
        img_rgb: RGB array (H,W,3), 0 to 255.
        metadata: class names and colours; ids stand for names that are missing.
        scale: size of the picture relative to the image.
        font_size_scale: factor on the size of text.
    """

    def __init__(
        self,
        img_rgb: np.ndarray,
        metadata=None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.IMAGE,
        font_size_scale: float = 1.0,
    ):
        self.img = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.metadata = MetadataCatalog.get("__nonexist__") if metadata is None else metadata
        self.output = VisImage(self.img, scale=scale)
        self._shape = self.img.shape[:2]
        self._font_size = max(np.sqrt(np.prod(self._shape)) // 90, 10 // scale) * font_size_scale
        self._instance_mode = instance_mode
        self._palette = map(palette_color, itertools.count())

    def get_output(self) -> VisImage:
        return self.output

    def draw_panoptic_seg(
        self,
        panoptic_seg: torch.Tensor | np.ndarray,
        segments_info: list[dict[str, Any]],
        area_threshold: int | None = None,
        alpha: float = 0.7,
    ) -> VisImage:
        """Draw stuff in its colours and things in shades of theirs, with names and scores.

        Args:
            panoptic_seg: segment ids (H,W).
            segments_info: ``id``, ``category_id`` (contiguous), ``isthing`` and maybe ``score``
                and ``iscrowd`` of each; ids that are not listed are void.
            area_threshold: stuff with fewer pixels is not drawn.
        """
        ids = np.asarray(panoptic_seg)
        if self._instance_mode == ColorMode.IMAGE_BW:
            self._grey_out_except(np.isin(ids, [s["id"] for s in segments_info]))
        stuff = [s for s in segments_info if not s["isthing"]]
        for segment in sorted(stuff, key=lambda s: -np.sum(ids == s["id"])):
            self._draw_stuff(ids == segment["id"], segment["category_id"], alpha, area_threshold)
        things = [s for s in segments_info if s["isthing"] and np.any(ids == s["id"])]
        masks = np.array([ids == s["id"] for s in things], dtype=bool).reshape(-1, *ids.shape)
        return self.overlay_instances(
            masks=masks,
            labels=[
                self._label(s["category_id"], s.get("score"), s.get("iscrowd")) for s in things
            ],
            assigned_colors=self._thing_colors([s["category_id"] for s in things], masks),
            alpha=alpha,
        )

    draw_panoptic_seg_predictions = draw_panoptic_seg

    def draw_sem_seg(
        self,
        sem_seg: torch.Tensor | np.ndarray,
        area_threshold: int | None = None,
        alpha: float = 0.8,
    ) -> VisImage:
        """Draw class ids (H,W); those without a name in ``stuff_classes`` are left alone."""
        classes = np.asarray(sem_seg)
        labels, areas = np.unique(classes, return_counts=True)
        for label in labels[np.argsort(-areas)].tolist():
            if 0 <= label < len(self.metadata.stuff_classes):
                self._draw_stuff(classes == label, label, alpha, area_threshold)
        return self.output

    def draw_instance_predictions(self, predictions: Instances) -> VisImage:
        """Draw ``pred_masks`` and ``pred_boxes`` with ``pred_classes`` and ``scores``."""
        masks = _to_array(predictions.pred_masks) if predictions.has("pred_masks") else None
        boxes = predictions.pred_boxes if predictions.has("pred_boxes") else None
        classes, scores = predictions.pred_classes.tolist(), predictions.scores.tolist()
        if self._instance_mode == ColorMode.IMAGE_BW:
            self._grey_out_except(None if masks is None else masks.any(axis=0))
        by_class = self._instance_mode == ColorMode.SEGMENTATION
        return self.overlay_instances(
            masks=masks,
            boxes=boxes,
            labels=list(map(self._label, classes, scores)),
            assigned_colors=self._thing_colors(classes, masks) if by_class else None,
            alpha={"IMAGE": 0.5, "SEGMENTATION": 0.8, "IMAGE_BW": 0.3}[self._instance_mode.name],
        )

    def overlay_instances(
        self,
        *,
        boxes: Boxes | np.ndarray | Sequence | None = None,
        labels: Sequence[str] | None = None,
        masks: BitMasks | torch.Tensor | np.ndarray | None = None,
        assigned_colors: Sequence[Color] | None = None,
        alpha: float = 0.5,
    ) -> VisImage:
        """Draw N instances, the large ones first.

        Args:
            boxes: (N,4) absolute XYXY.
            masks: bool (N,H,W).
            labels, assigned_colors: N each.
        """
        boxes = None if boxes is None else np.array([np.asarray(box, float) for box in boxes])
        masks = None if masks is None else _to_array(masks)
        regions = self._filled(boxes) if masks is None else masks
        colors = assigned_colors or [next(self._palette) for _ in regions]
        given = [len(x) for x in (regions, boxes, labels, colors) if x is not None]
        assert len(set(given)) == 1, f"Boxes, masks, labels or colours differ in number: {given}."
        for i in np.argsort(-regions.sum(axis=(1, 2)), kind="stable"):
            if masks is not None:
                self.output.draw_mask(masks[i], colors[i], alpha, edge=(1 + to_rgb(colors[i])) / 2)
            if boxes is not None:
                self.output.draw_box(boxes[i], colors[i], alpha)
            if labels is not None and regions[i].any():
                self._draw_label(labels[i], regions[i], boxes is None, colors[i])
        return self.output

    def _filled(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N,4) as a bool array (N,H,W)."""
        bitmaps = np.zeros((len(boxes), *self._shape), dtype=bool)
        for bitmap, box in zip(bitmaps, boxes, strict=True):
            x0, y0, x1, y1 = box.round().astype(int).clip(0)
            bitmap[y0:y1, x0:x1] = True
        return bitmaps

    def _draw_stuff(
        self, mask: np.ndarray, category: int, alpha: float, area_threshold: int | None
    ) -> None:
        if mask.sum() >= max(area_threshold or 0, 1):
            color, name = self._class_color("stuff", category), self._class_name("stuff", category)
            self.output.draw_mask(mask, color, alpha, edge=_OFF_WHITE)
            self.output.draw_text(name, _deepest_point(mask), color, self._font_size)

    def _draw_label(self, label: str, region: np.ndarray, inside: bool, color: Color) -> None:
        x, y, width, height = cv2.boundingRect(region.astype(np.uint8))
        if width * height < _SMALL_AREA:
            self.output.draw_text(label, (x, y + height), color, 0.8 * self._font_size, False)
        elif inside:
            self.output.draw_text(label, _deepest_point(region), color, self._font_size)
        else:
            self.output.draw_text(label, (x, y), color, self._font_size, False)

    def _class_name(self, kind: str, category: int) -> str:
        names = self.metadata.get(f"{kind}_classes") or []
        return names[category] if category < len(names) else str(category)

    def _class_color(self, kind: str, category: int) -> Color:
        colors = self.metadata.get(f"{kind}_colors") or []
        return np.divide(colors[category], 255) if category < len(colors) else next(self._palette)

    def _thing_colors(self, categories: Sequence[int], masks: np.ndarray) -> list[np.ndarray]:
        """Shades of the classes' colours, the same ones in every picture."""
        shifts = np.random.default_rng(0).uniform(-0.25, 0.25, (len(categories), 3))
        colors = [self._class_color("thing", category) for category in categories]
        return [np.clip(color + shift, 0, 1) for color, shift in zip(colors, shifts, strict=True)]

    def _label(self, category: int, score: float | None = None, iscrowd: int | None = 0) -> str:
        percent = "" if score is None else f" {score:.0%}"
        return self._class_name("thing", category) + percent + ("|crowd" if iscrowd else "")

    def _grey_out_except(self, mask: np.ndarray | None) -> None:
        grey = self.img.mean(axis=2, keepdims=True).repeat(3, axis=2)
        if mask is not None:
            grey[mask] = self.img[mask]
        self.output.reset_image(grey)


def _to_array(masks: BitMasks | torch.Tensor | np.ndarray) -> np.ndarray:
    masks = masks.tensor if isinstance(masks, BitMasks) else masks
    return np.asarray(torch.as_tensor(masks, device="cpu"), dtype=bool)


def palette_color(index: int) -> np.ndarray:
    """RGB from 0 to 1 of an endless palette whose neighbours differ clearly."""
    hue = index * _GOLDEN_RATIO % 1
    return np.array(colorsys.hsv_to_rgb(hue, *_SATURATION_AND_VALUE[index % 3]))


def _deepest_point(mask: np.ndarray) -> np.ndarray:
    """(x, y) well inside the thickest part of a mask, where a label hides no border."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    inner = np.argwhere(depth >= 0.8 * depth.max())
    distance = np.abs(inner - np.median(inner, axis=0)).sum(axis=1)
    return inner[distance.argmin()][::-1]

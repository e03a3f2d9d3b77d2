"""Pictures of annotations and predictions: masks, boxes and class names over the image."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, unique
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..data import MetadataCatalog
from ..structures import BitMasks, Boxes, BoxMode, Instances
from .colormap import colormap
from .file_io import PathManager
from .regions import area, bounding_box, deepest_point, to_array, to_bitmaps
from .vis_image import Color, VisImage, to_rgb

__all__ = ["ColorMode", "VisImage", "Visualizer"]

_OFF_WHITE = (1.0, 1.0, 0.94)
_SMALL_AREA = 1000  # Labels of smaller objects (pixels) stand beside them.
_ALPHA = {"IMAGE": 0.5, "SEGMENTATION": 0.8, "IMAGE_BW": 0.3}


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
        self._num_unnamed = 0

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
        masks = [ids == s["id"] for s in things]
        categories = [s["category_id"] for s in things]
        return self.overlay_instances(
            masks=masks,
            labels=[
                self._label(s["category_id"], s.get("score"), s.get("iscrowd", 0)) for s in things
            ],
            assigned_colors=self._thing_colors(categories, masks, by_class=True),
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
        """Draw ``pred_masks`` and ``pred_boxes`` with ``pred_classes`` and ``scores``, if there."""
        masks, boxes, classes, scores = (
            predictions.get(name) if predictions.has(name) else None
            for name in ("pred_masks", "pred_boxes", "pred_classes", "scores")
        )
        masks = None if masks is None else to_bitmaps(masks, *self._shape)
        boxes = None if boxes is None else to_array(boxes)
        classes = [None] * len(predictions) if classes is None else classes.tolist()
        scores = [None] * len(predictions) if scores is None else scores.tolist()
        if self._instance_mode == ColorMode.IMAGE_BW:
            self._grey_out_except(None if masks is None else masks.any(axis=0))
        return self.overlay_instances(
            masks=masks,
            boxes=boxes,
            labels=list(map(self._label, classes, scores)),
            assigned_colors=self._thing_colors(classes, boxes if masks is None else masks),
            alpha=_ALPHA[self._instance_mode.name],
        )

    def draw_dataset_dict(self, dic: Mapping[str, Any]) -> VisImage:
        """Draw the annotations, the semantic and the panoptic labels of a dataset dict."""
        if dic.get("annotations"):
            self._draw_annotations(dic["annotations"])
        sem_seg = dic.get("sem_seg")
        if sem_seg is None and "sem_seg_file_name" in dic:
            sem_seg = _read_labels(dic["sem_seg_file_name"])
        if sem_seg is not None:
            self.draw_sem_seg(sem_seg, alpha=0.5)
        pan_seg = dic.get("pan_seg")
        if pan_seg is None and "pan_seg_file_name" in dic:
            # COCO's code: id = R + 256 G + 65536 B.
            pan_seg = _read_labels(dic["pan_seg_file_name"])[:, :, :3] @ (1, 256, 256**2)
        if pan_seg is not None:
            self.draw_panoptic_seg(pan_seg, dic["segments_info"], alpha=0.5)
        return self.output

    def overlay_instances(
        self,
        *,
        boxes: Boxes | np.ndarray | Sequence | None = None,
        labels: Sequence[str] | None = None,
        masks: BitMasks | torch.Tensor | Iterable | None = None,
        assigned_colors: Sequence[Color] | None = None,
        alpha: float = 0.5,
    ) -> VisImage:
        """Draw N instances, the large ones first.

        Args:
            boxes: (N,4) absolute XYXY.
            masks: (N,H,W), or a list of bool masks, RLEs, or lists of polygons.
            labels, assigned_colors: N each.
        """
        boxes = None if boxes is None else to_array(boxes)
        masks = None if masks is None else to_bitmaps(masks, *self._shape)
        regions = masks if boxes is None else boxes
        if regions is None:
            return self.output
        colors = assigned_colors or [self._next_color() for _ in regions]
        given = [len(values) for values in (regions, masks, labels, colors) if values is not None]
        assert len(set(given)) == 1, f"Boxes, masks, labels or colours differ in number: {given}."
        for i in sorted(range(len(regions)), key=lambda i: -area(regions[i])):
            if masks is not None:
                self.output.draw_mask(masks[i], colors[i], alpha, edge=(1 + to_rgb(colors[i])) / 2)
            if boxes is not None:
                self.output.draw_box(boxes[i], colors[i], alpha)
            if labels is not None and area(regions[i]) > 0:
                self._draw_instance_label(labels[i], regions[i], colors[i])
        return self.output

    def _draw_stuff(
        self, mask: np.ndarray, category: int, alpha: float, area_threshold: int | None
    ) -> None:
        if mask.sum() >= max(area_threshold or 0, 1):
            color, name = self._class_color("stuff", category), self._class_name("stuff", category)
            self.output.draw_mask(mask, color, alpha, edge=_OFF_WHITE)
            self.output.draw_text(name, deepest_point(mask), color, self._font_size)

    def _draw_annotations(self, annotations: list[dict[str, Any]]) -> None:
        to_xyxy = BoxMode.XYXY_ABS
        boxes = to_array([BoxMode.convert(a["bbox"], a["bbox_mode"], to_xyxy) for a in annotations])
        has_masks = "segmentation" in annotations[0]
        self.overlay_instances(
            boxes=boxes,
            masks=[a["segmentation"] for a in annotations] if has_masks else None,
            labels=[
                self._label(a["category_id"], iscrowd=a.get("iscrowd", 0)) for a in annotations
            ],
            assigned_colors=self._thing_colors([a["category_id"] for a in annotations], boxes),
        )

    def _draw_instance_label(self, label: str, region: np.ndarray, color: Color) -> None:
        x0, y0, x1, y1 = bounding_box(region)
        if (x1 - x0) * (y1 - y0) < _SMALL_AREA:
            self.output.draw_text(label, (x0, y1), color, 0.8 * self._font_size, centred=False)
        elif region.ndim == 1:
            self.output.draw_text(label, (x0, y0), color, self._font_size, centred=False)
        else:
            self.output.draw_text(label, deepest_point(region), color, self._font_size)

    def _class_name(self, kind: str, category: int) -> str:
        names = self.metadata.get(f"{kind}_classes") or []
        return names[category] if category < len(names) else str(category)

    def _class_color(self, kind: str, category: int) -> Color:
        colors = self.metadata.get(f"{kind}_colors") or []
        return np.divide(colors[category], 255) if category < len(colors) else self._next_color()

    def _next_color(self) -> np.ndarray:
        palette = colormap(rgb=True, maximum=1)
        self._num_unnamed += 1
        return palette[(self._num_unnamed - 1) % len(palette)]

    def _thing_colors(
        self, categories: Sequence[int], regions: Sequence[np.ndarray], by_class: bool = False
    ) -> list[np.ndarray] | None:
        """Shades of the classes' colours, the same ones in every picture; None for any colours."""
        if not by_class and self._instance_mode != ColorMode.SEGMENTATION:
            return None
        shifts = np.random.default_rng(0).uniform(-0.25, 0.25, (len(categories), 3))
        colors = [self._class_color("thing", category) for category in categories]
        return [np.clip(color + shift, 0, 1) for color, shift in zip(colors, shifts, strict=True)]

    def _label(self, category: int | None, score: float | None = None, iscrowd: int = 0) -> str:
        name = "" if category is None else self._class_name("thing", category)
        percent = "" if score is None else f"{score:.0%}"
        return f"{name} {percent}".strip() + ("|crowd" if iscrowd else "")

    def _grey_out_except(self, mask: np.ndarray | None) -> None:
        grey = self.img.mean(axis=2, keepdims=True).repeat(3, axis=2)
        if mask is not None:
            grey[mask] = self.img[mask]
        self.output.reset_image(grey)


def _read_labels(path: str) -> np.ndarray:
    with PathManager.open(path, "rb") as file:
        return np.asarray(Image.open(file)).astype(np.int64)

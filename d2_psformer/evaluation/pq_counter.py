"""Panoptic quality as counts that can be added: per class the sum of IoUs, TP, FP and FN.

The measure is that of Kirillov et al., "Panoptic Segmentation" (arXiv 1801.00868), with the
treatment of void and crowd regions of COCO's reference evaluation.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..data.panoptic_json import is_flag
from ..utils.errors import UserError
from .pq_segments import VOID, Overlaps, Segment, joint_histogram, read_segments

SIZES = ("small", "medium", "large")
SPLITS = {"All": (True, False), "Things": (True,), "Stuff": (False,)}
# COCO's bounds between small, medium and large, pixels of the original image. They are absolute,
# so that PQ by size is comparable with AP by size; tiny images may need bounds of their own.
COCO_SIZE_BOUNDS = (32**2, 96**2)


class Outcome(NamedTuple):
    """What became of the segments of one image; those that are ignored are in neither list.

    Attributes:
        matched: (ground-truth id, predicted id) -> IoU.
        missed: ground-truth ids, false negatives.
        false: predicted ids, false positives.
    """

    matched: dict[tuple[int, int], float]
    missed: list[int]
    false: list[int]


class PanopticQuality:
    """A streaming counter of panoptic quality: images are added one by one, and so are counters.

    A segment is a dict with ``id`` and ``category_id``; ground truth may add ``iscrowd`` (0, 1 or
    a bool) and ``area`` (pixels). Pixels of id 0 are void.

    By size, a matched or missed ground-truth segment counts in the bin of its own area, and a
    false positive in the bin of the predicted area: every count is in exactly one bin.

    Args:
        categories: dicts with ``id``, ``name`` and ``isthing``, as in a COCO-panoptic JSON.
        size_bounds: the least area in pixels of a medium and of a large segment.

    Raises:
        UserError: an ``isthing`` is neither 0 nor 1.
    """

    def __init__(
        self,
        categories: Iterable[Mapping],
        size_bounds: tuple[int, int] = COCO_SIZE_BOUNDS,
    ):
        self.categories = {c["id"]: dict(c) for c in categories}
        for category_id, category in self.categories.items():
            if not is_flag(isthing := category.get("isthing")):
                raise UserError(
                    f"Category {category_id} has isthing {isthing!r}: give 1 for things, 0 for "
                    "stuff."
                )
        self.size_bounds = tuple(size_bounds)
        self.num_images = 0
        self._row = {category_id: row for row, category_id in enumerate(self.categories)}
        shape = (len(SIZES), len(self.categories))
        self.iou = np.zeros(shape)
        self.tp, self.fp, self.fn = (np.zeros(shape, np.int64) for _ in range(3))

    def add(
        self,
        image_id: int | str,
        gt_map: np.ndarray,
        gt_segments: Iterable[Mapping],
        pred_map: np.ndarray,
        pred_segments: Iterable[Mapping],
    ) -> Outcome:
        """Count one image.

        Args:
            image_id: names the image in errors.
            gt_map, pred_map: integers (H, W), segment ids from 0 to 2^31 - 1.
            gt_segments, pred_segments: one dict for each nonzero id.

        Raises:
            UserError: maps of different size or not of integers, an id in a map but not among its
                segments or the reverse, an id listed twice or no integer, an unknown category, an
                impossible area, an ``iscrowd`` that is neither 0 nor 1.
        """
        overlaps = joint_histogram(image_id, gt_map, pred_map)
        return self.add_overlaps(image_id, overlaps, gt_segments, pred_segments)

    def add_overlaps(
        self,
        image_id: int | str,
        overlaps: Overlaps,
        gt_segments: Iterable[Mapping],
        pred_segments: Iterable[Mapping],
    ) -> Outcome:
        """Count one image by its :func:`.joint_histogram`; see :meth:`add`."""
        gt = read_segments(image_id, True, gt_segments, overlaps, self.categories)
        pred = read_segments(image_id, False, pred_segments, overlaps, self.categories)

        outcome = Outcome({}, [], [])
        for (gt_id, pred_id), intersection in overlaps.items():
            g, p = gt.get(gt_id), pred.get(pred_id)
            if g is None or p is None or g.iscrowd or g.category_id != p.category_id:
                continue
            if g.area < intersection:
                raise UserError(
                    f"Image {image_id}: ground-truth segment {gt_id} has area {g.area} in its "
                    f"JSON but at least {intersection} pixels: correct the annotation."
                )
            union = g.area + p.area - intersection - overlaps.get((VOID, pred_id), 0)
            if intersection > 0.5 * union:
                self.tp[self._cell(g)] += 1
                self.iou[self._cell(g)] += intersection / union
                outcome.matched[gt_id, pred_id] = intersection / union

        for gt_id in gt.keys() - {gt_id for gt_id, _ in outcome.matched}:
            if not gt[gt_id].iscrowd:
                self.fn[self._cell(gt[gt_id])] += 1
                outcome.missed.append(gt_id)
        # One crowd region a class and image, the last one listed: as the reference has it.
        crowds = {g.category_id: gt_id for gt_id, g in gt.items() if g.iscrowd}
        for pred_id in pred.keys() - {pred_id for _, pred_id in outcome.matched}:
            p = pred[pred_id]
            ignored = overlaps.get((VOID, pred_id), 0)
            if p.category_id in crowds:
                ignored += overlaps.get((crowds[p.category_id], pred_id), 0)
            if ignored <= 0.5 * p.area:
                self.fp[self._cell(p)] += 1
                outcome.false.append(pred_id)
        self.num_images += 1
        return outcome

    def __add__(self, other: "PanopticQuality") -> "PanopticQuality":
        """The counts of both, for images counted in pieces or by several processes."""
        if not isinstance(other, PanopticQuality):
            return NotImplemented
        mine, theirs = (
            (list(q.categories), [bool(c["isthing"]) for c in q.categories.values()], q.size_bounds)
            for q in (self, other)
        )
        if mine != theirs:
            raise ValueError(
                "Panoptic qualities of different categories or size bounds cannot be added: "
                "evaluate both on the same data set."
            )
        total = PanopticQuality(self.categories.values(), self.size_bounds)
        for name in ("num_images", "iou", "tp", "fp", "fn"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def results(self) -> dict:
        """Fractions in [0, 1], NaN where nothing is to be averaged.

        Returns:
            dict: ``All``, ``Things``, ``Stuff``: {pq, sq, rq, n}, n the classes that occur;
            ``per_class``: category id -> {name, isthing, pq, sq, rq, iou, tp, fp, fn};
            ``by_size``: small, medium, large -> {All, Things, Stuff} over that size's segments.
        """
        counts = [self.iou, self.tp, self.fp, self.fn]
        totals = [array.sum(axis=0) for array in counts]
        return {
            **self._averages(*totals),
            "per_class": self._per_class(*totals),
            "by_size": {
                size: self._averages(*(array[row] for array in counts))
                for row, size in enumerate(SIZES)
            },
        }

    def _averages(self, iou, tp, fp, fn) -> dict[str, dict]:
        isthing = np.array([bool(c["isthing"]) for c in self.categories.values()], dtype=bool)
        quality = _quality(iou, tp, fp, fn)
        occurs = tp + fp + fn > 0
        chosen = {split: occurs & np.isin(isthing, kinds) for split, kinds in SPLITS.items()}
        return {
            split: {
                **{k: float(v[c].mean()) if c.any() else math.nan for k, v in quality.items()},
                "n": int(c.sum()),
            }
            for split, c in chosen.items()
        }

    def _per_class(self, iou, tp, fp, fn) -> dict[int | str, dict]:
        quality = _quality(iou, tp, fp, fn)
        return {
            category_id: {
                "name": str(category.get("name", category_id)),
                "isthing": bool(category["isthing"]),
                **{key: float(values[row]) for key, values in quality.items()},
                "iou": float(iou[row]),
                **{key: int(n[row]) for key, n in (("tp", tp), ("fp", fp), ("fn", fn))},
            }
            for row, (category_id, category) in enumerate(self.categories.items())
        }

    def _cell(self, segment: Segment) -> tuple[int, int]:
        size = sum(segment.area >= bound for bound in self.size_bounds)
        return size, self._row[segment.category_id]


def _quality(iou, tp, fp, fn) -> dict[str, np.ndarray]:
    """PQ, SQ and RQ of each class; NaN for a class that occurs nowhere, SQ 0 without a match."""
    with np.errstate(invalid="ignore"):
        weight = tp + 0.5 * fp + 0.5 * fn
        sq = np.where(weight > 0, iou / np.maximum(tp, 1), np.nan)
        return {"pq": iou / weight, "sq": sq, "rq": tp / weight}

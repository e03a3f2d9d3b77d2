"""Masks and scores -> one segment a pixel, by the merging that the model's config names."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .masks import Masks, softmax


@dataclass
class Segment:
    """One id of a map: the mask it came from, its score (at most 1), its pixels."""

    index: int
    score: float
    area: int


Merged = tuple[np.ndarray, list[Segment]]  # id map (H, W) int32, 0 = void; segments of 1, 2, …


def mask_wise(masks: Masks, scores: np.ndarray, is_thing: np.ndarray, rule: dict) -> Merged:
    """The best masks take their pixels first (Panoptic SegFormer, algorithm 1)."""
    threshold, found = rule["mask_threshold"], {}
    peaks = masks.peaks()
    best = _power_score(scores, peaks, rule)
    for index in np.flatnonzero((peaks > threshold) & (best >= rule["score_threshold"])):
        mask = masks[index]
        pixels = mask > threshold
        quality = mask[pixels].sum(dtype=np.float32) / np.float32(pixels.sum() + 1)
        found[index] = _power_score(scores[index], quality, rule), pixels
    ids, segments = np.zeros(masks.placement.output, np.int32), []
    for index, (score, pixels) in sorted(found.items(), key=lambda item: -item[1][0]):
        free = pixels & (ids == 0)
        area, whole = int(free.sum()), int(pixels.sum())
        kind = "thing" if is_thing[index] else "stuff"
        is_kept = area and (whole - area) / whole <= rule[f"{kind}_overlap_threshold"]
        if score >= rule["score_threshold"] and is_kept:
            segments.append(Segment(int(index), min(float(score), 1.0), area))
            ids[free] = len(segments)
    return ids, segments


def pixel_argmax(masks: Masks, scores: np.ndarray, is_thing: np.ndarray, rule: dict) -> Merged:
    """Every pixel goes to its highest mask."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= rule["score_threshold"]]
    highest = np.full(masks.placement.output, rule["mask_threshold"], np.float32)
    winner = np.zeros_like(highest, np.int32)
    for place, index in enumerate(order, 1):
        _contest(highest, winner, masks[index], place)
    won = np.bincount(winner.ravel(), minlength=len(order) + 1)[1:]
    return _numbered(winner, won > 0, order, scores, won)


def maskformer(masks: Masks, scores: np.ndarray, is_thing: np.ndarray, rule: dict) -> Merged:
    """Every pixel goes to the highest product of class probability and mask (MaskFormer).

    With the merging "mask2former" a segment gets those of its pixels alone that belong to its mask.
    """
    order = np.flatnonzero(scores > rule["score_threshold"])
    highest = np.zeros(masks.placement.output, np.float32)
    # Where all products are 0, masks that are logits leave no pixel void.
    is_owned = masks.kind == "logit" and len(order) > 0
    winner = np.full_like(highest, is_owned, np.int32)
    within, own = np.zeros_like(winner, bool), np.zeros(len(order), np.int64)
    for place, index in enumerate(order, 1):
        mask = masks[index]
        large = mask >= rule["mask_threshold"]
        own[place - 1] = large.sum()
        better = _contest(highest, winner, scores[index] * np.minimum(mask, 1), place)
        within = (within & ~better) | (large & better)
    won = areas = np.bincount(winner.ravel(), minlength=len(order) + 1)[1:]
    if rule["name"] == "mask2former":
        winner = winner * within
        areas = np.bincount(winner.ravel(), minlength=len(order) + 1)[1:]
    lost = np.array([rule["stuff_overlap_threshold"], rule["thing_overlap_threshold"]])
    share = won / np.maximum(own, 1)
    keep = (areas > 0) & (own > 0) & (share >= 1 - lost[is_thing[order].astype(int)])
    return _numbered(winner, keep, order, scores, areas)


def max_deeplab(masks: Masks, scores: np.ndarray, is_thing: np.ndarray, rule: dict) -> Merged:
    """A pixel of the canvas belongs to the query with the largest share of it, or is void."""
    is_kept = scores >= rule["score_threshold"]
    ids = np.zeros(masks.placement.canvas, np.int32)
    for columns, logits in masks.strips():
        shares = softmax(logits)
        owner = shares.argmax(0)
        is_sure = shares.max(0) > rule["mask_threshold"] * shares[is_kept].sum(0)
        ids[:, columns] = (owner + 1) * (is_kept[owner] & is_sure)
    areas = np.bincount(ids.ravel(), minlength=len(masks) + 1)[1:]
    return _numbered(ids, areas > 0, np.arange(len(masks)), scores, areas)


MERGINGS = {
    "mask_wise": mask_wise,
    "pixel_argmax": pixel_argmax,
    "maskformer": maskformer,
    "mask2former": maskformer,
    "max_deeplab": max_deeplab,
}


def class_scores(masks: Masks, scores: np.ndarray, rule: dict[str, Any]) -> np.ndarray:
    """(N,): the scores of masks as the merging sees them."""
    if rule["name"] != "mask_wise":
        return scores
    quality = np.zeros_like(scores)
    for index in range(len(masks)):
        mask = masks[index]
        above = mask[mask > rule["mask_threshold"]]
        quality[index] = above.sum(dtype=np.float32) / np.float32(above.size + 1)
    return _power_score(scores, quality, rule)


def one_segment_per_stuff(
    ids: np.ndarray, segments: list[Segment], classes: np.ndarray, is_thing: np.ndarray
) -> Merged:
    """Give all segments of a stuff class the id of the first one, as several masks may show it."""
    joined: list[Segment] = []
    new_ids, of_stuff = [0], {}
    for segment in segments:
        stuff = None if is_thing[segment.index] else classes[segment.index]
        if stuff in of_stuff:
            joined[of_stuff[stuff] - 1].area += segment.area
            new_ids.append(of_stuff[stuff])
            continue
        joined.append(segment)
        new_ids.append(len(joined))
        if stuff is not None:
            of_stuff[stuff] = len(joined)
    return np.array(new_ids, np.int32)[ids], joined


def recount(ids: np.ndarray, segments: list[Segment], smallest: list[int]) -> Merged:
    """Count the pixels anew, drop segments of fewer than ``smallest``, number the rest."""
    areas = np.bincount(ids.ravel(), minlength=len(segments) + 1)
    table, kept = np.zeros(len(segments) + 1, np.int32), []
    for number, (segment, least) in enumerate(zip(segments, smallest, strict=True), 1):
        if areas[number] >= least:
            kept.append(Segment(segment.index, segment.score, int(areas[number])))
            table[number] = len(kept)
    return table[ids], kept


def _power_score(scores: np.ndarray, quality: np.ndarray, rule: dict) -> np.ndarray:
    return scores ** rule["class_power"] * quality ** rule["mask_power"]


def _contest(highest: np.ndarray, winner: np.ndarray, values: np.ndarray, place: int) -> np.ndarray:
    """Give the pixels where ``values`` are the highest so far to ``place``; True there."""
    better = values > highest
    np.maximum(highest, values, out=highest)
    winner[better] = place
    return better


def _numbered(
    ids: np.ndarray, keep: np.ndarray, order: np.ndarray, scores: np.ndarray, areas: np.ndarray
) -> Merged:
    """Number the segments that are kept 1, 2, …; the others become void."""
    table = np.zeros(len(order) + 1, np.int32)
    table[1:][keep] = np.arange(1, keep.sum() + 1)
    segments = [
        Segment(int(index), min(float(scores[index]), 1.0), int(area))
        for index, area in zip(order[keep], areas[keep], strict=True)
    ]
    return table[ids], segments

"""MaX-DeepLab's results: on the canvas, every pixel goes to one slot ("pixelwise" in deeplab2)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...utils.checks import check_at_least, check_fraction
from ..outputs import QueryOutputs
from . import semantic
from .mask_wise import Segment
from .pixel_wise import label
from .placement import Placement
from .predictions import QueryPredictions
from .resized_masks import ResizedMasks, pick_nearest
from .results import Postprocessor


@dataclass(frozen=True)
class MaXDeepLabMerging:
    """A pixel belongs to the query with the largest share of it, or is void.

    Attributes:
        score_threshold: pixels of queries of a lower class probability are void.
        mask_threshold: a pixel is void unless its query has more than this part of the shares of
            all queries that reach ``score_threshold``.
        thing_area_limit, stuff_area_limit: drop segments of fewer pixels of the canvas.
    """

    score_threshold: float = 0.7
    mask_threshold: float = 0.4
    thing_area_limit: int = 0
    stuff_area_limit: int = 0

    def __post_init__(self):
        check_fraction(mask_threshold=self.mask_threshold)  # no share is above 1
        limits = {"thing_area_limit": self.thing_area_limit}
        check_at_least(0, **limits, stuff_area_limit=self.stuff_area_limit)

    def __call__(
        self, masks: ResizedMasks, scores: Tensor, is_thing: Tensor
    ) -> tuple[Tensor, list[Segment]]:
        """N masks, scores (N,), is_thing (N,) -> id map (H, W) int32, 0 = void; its ids.

        Ids are in the order of the masks. The limits of areas are for :meth:`drop_small`, after
        the segments of a stuff class are joined.
        """
        is_kept = scores >= self.score_threshold
        ids = torch.zeros(masks.size, dtype=torch.int32, device=masks.device)
        for columns, shares in masks.strips():
            largest, owner = shares.max(0)
            is_sure = largest > self.mask_threshold * shares[is_kept].sum(0)
            ids[:, columns] = (owner + 1) * (is_kept[owner] & is_sure)
        areas = ids.flatten().bincount(minlength=len(masks) + 1)[1:]
        order = torch.arange(len(masks), device=masks.device)
        return label(ids, areas > 0, order, scores, areas)

    def drop_small(
        self, id_map: Tensor, segments: list[Segment], is_thing: list[bool]
    ) -> tuple[Tensor, list[Segment]]:
        """Drop the segments below the limits of areas; ``is_thing`` is of the masks."""
        limits = self.stuff_area_limit, self.thing_area_limit
        return _recount(id_map, segments, [limits[is_thing[s.index]] for s in segments])


class MaXDeepLabPostprocessor(Postprocessor):
    """Segments are found on the canvas; the output shows the nearest pixels of the canvas.

    A pixel's score of a class, in ``sem_seg``, is the largest share that a query has whose best
    class it is.
    """

    merging: MaXDeepLabMerging

    def results_of_queries(self, outputs: QueryOutputs, image: int, placement: Placement) -> dict:
        results = {}
        if self.panoptic:
            queries = QueryPredictions.of(outputs, image, placement.whole_canvas)
            results["panoptic_seg"] = self._panoptic_of_canvas(queries, placement)
        queries = QueryPredictions.of(outputs, image, placement)
        if self.semantic:
            found = queries.best(self.thing_ids)
            every = torch.ones_like(found.scores)
            results["sem_seg"] = semantic.best_masks(found, every, self.num_classes)
        if self.instances:
            results["instances"] = self.instances_of_queries(queries)
        return results

    def _panoptic_of_canvas(
        self, queries: QueryPredictions, placement: Placement
    ) -> tuple[Tensor, list[dict]]:
        found = queries.best(self.thing_ids)
        id_map, segments = self.merge(found, found.scores)
        id_map, segments = self.merging.drop_small(id_map, segments, found.is_thing.tolist())
        for dim, (valid, length) in enumerate(zip(placement.image, placement.output, strict=True)):
            id_map = pick_nearest(id_map.narrow(dim, 0, valid), dim, length)
        id_map, segments = _recount(id_map, segments, [1] * len(segments))
        return id_map, self.segments_info(segments, found)


def _recount(
    id_map: Tensor, segments: list[Segment], smallest: list[int]
) -> tuple[Tensor, list[Segment]]:
    """Count the pixels anew, drop segments that have fewer than ``smallest``, number the rest."""
    areas = id_map.flatten().bincount(minlength=len(segments) + 1).tolist()
    kept = [s for s, least in zip(segments, smallest, strict=True) if areas[s.id] >= least]
    table = torch.zeros(len(segments) + 1, dtype=torch.int32, device=id_map.device)
    table[[s.id for s in kept]] = torch.arange(1, len(kept) + 1).to(table)
    kept = [replace(s, id=number, area=areas[s.id]) for number, s in enumerate(kept, 1)]
    return table[id_map.long()], kept

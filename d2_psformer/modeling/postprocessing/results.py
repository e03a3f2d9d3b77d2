"""Outputs of one image -> panoptic_seg, sem_seg, instances in Detectron2's formats."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...d2.structures import Boxes, Instances
from ...utils.checks import check_at_least
from ..outputs import QueryOutputs, SegmenterOutputs
from . import semantic
from .instances import FoundInstances, best_instances, things
from .mask_wise import MaskWiseMerging, Segment
from .merge_stuff import merge_stuff_segments
from .pixel_wise import MaskFormerMerging, PixelArgmaxMerging
from .placement import Placement, Size
from .predictions import MaskPredictions, QueryPredictions

Merging = MaskWiseMerging | PixelArgmaxMerging | MaskFormerMerging


@dataclass(frozen=True)
class Postprocessor:
    """Makes the kinds of result that are switched on.

    Attributes:
        thing_ids: contiguous ids of the classes that are things.
        num_classes: channels of ``sem_seg``.
        max_instances: (query, class) pairs that become instances, where queries give every class a
            probability.
        official_instances: of these pairs, keep those without pixels, and give zeros for all
            boxes, as the official Mask2Former does.
    """

    merging: Merging
    thing_ids: tuple[int, ...]
    num_classes: int
    panoptic: bool = True
    semantic: bool = False
    instances: bool = False
    max_instances: int = 100
    official_instances: bool = False

    def __post_init__(self):
        check_at_least(1, max_instances=self.max_instances)

    def __call__(self, outputs: SegmenterOutputs, image: int, placement: Placement) -> dict:
        """Results of one image of a batch: any of ``panoptic_seg``, ``sem_seg``, ``instances``."""
        if outputs.pixel_logits:
            logits = outputs.pixel_logits[-1][image]
            return {"sem_seg": semantic.pixel_logits(logits, placement)}
        sets = list(outputs.queries.values())
        if sets[0].classes is None:
            return self.results_of_queries(sets[0], image, placement)
        predictions = MaskPredictions.of(sets, image, self.thing_ids, placement)
        if not (self.semantic or self.instances):  # these two have no threshold
            kept = self.merging.prefilter(predictions.masks, predictions.scores)
            predictions = predictions.select(kept)
        return self.results(predictions)

    def results(self, predictions: MaskPredictions) -> dict:
        """Any of ``panoptic_seg``, ``sem_seg``, ``instances``, all from the same scores."""
        scores = self.merging.score(predictions.masks, predictions.scores)
        results = {}
        if self.panoptic:
            results["panoptic_seg"] = self.panoptic_seg(predictions, scores)
        if self.semantic:
            results["sem_seg"] = semantic.best_masks(predictions, scores, self.num_classes)
        if self.instances:
            found = things(predictions, scores, self.merging.mask_threshold)
            results["instances"] = self.instance_seg(found, predictions.masks.size)
        return results

    def results_of_queries(self, outputs: QueryOutputs, image: int, placement: Placement) -> dict:
        """The same results where the queries have a softmax over classes and "no object".

        As in the official code, ``sem_seg`` is summed up at the size of the output if there are
        other results, and else at that of the canvas.
        """
        queries = QueryPredictions.of(outputs, image, placement)
        results = {}
        if self.panoptic:
            found = queries.best(self.thing_ids).select(queries.is_object)
            found = found.select(self.merging.prefilter(found.masks, found.scores))
            scores = self.merging.score(found.masks, found.scores)
            results["panoptic_seg"] = self.panoptic_seg(found, scores)
        if self.semantic and (self.panoptic or self.instances):
            results["sem_seg"] = semantic.sum_over_queries(queries)
        elif self.semantic:
            whole = QueryPredictions.of(outputs, image, placement.whole_canvas)
            summed = semantic.sum_over_queries(whole)
            results["sem_seg"] = semantic.crop_and_resize(summed, placement)
        if self.instances:
            results["instances"] = self.instances_of_queries(queries)
        return results

    def instances_of_queries(self, queries: QueryPredictions) -> Instances:
        """Of things alone, if there is a panoptic result too."""
        only = self.thing_ids if self.panoptic else None
        options = self.merging.mask_threshold, self.max_instances, only
        found = best_instances(queries, *options, keep_empty=self.official_instances)
        return self.instance_seg(found, queries.masks.size)

    def panoptic_seg(
        self, predictions: MaskPredictions, scores: Tensor
    ) -> tuple[Tensor, list[dict]]:
        """Id map (H, W) int32, 0 = void, and its segments_info."""
        id_map, segments = self.merge(predictions, scores)
        return id_map, self.segments_info(segments, predictions)

    def merge(self, predictions: MaskPredictions, scores: Tensor) -> tuple[Tensor, list[Segment]]:
        """Id map (H, W) int32, 0 = void, and its segments, one of every stuff class."""
        id_map, segments = self.merging(predictions.masks, scores, predictions.is_thing)
        classes, is_thing = predictions.classes.tolist(), predictions.is_thing.tolist()
        return merge_stuff_segments(id_map, segments, classes, is_thing)

    @staticmethod
    def segments_info(segments: list[Segment], predictions: MaskPredictions) -> list[dict]:
        """Detectron2's keys, and ``query``, the query that found the segment."""
        classes, is_thing = predictions.classes.tolist(), predictions.is_thing.tolist()
        queries = predictions.queries.tolist()
        return [
            {
                "id": segment.id,
                "category_id": classes[segment.index],
                "isthing": is_thing[segment.index],
                "score": segment.score,
                "area": segment.area,
                "query": queries[segment.index],
            }
            for segment in segments
        ]

    def instance_seg(self, found: FoundInstances, size: Size) -> Instances:
        """pred_masks (N, H, W) of this size, pred_boxes (from masks), scores, pred_classes."""
        masks = torch.zeros((len(found.masks), *size), dtype=torch.bool, device=found.scores.device)
        boxes = found.scores.new_zeros(len(masks), 4)
        for whole, box, mask in zip(masks, boxes, found.masks, strict=True):
            if mask is None:
                continue
            whole[mask.box] = mask.pixels
            if not self.official_instances:
                box.copy_(box.new_tensor(mask.tight_box()))
        instances = Instances(size)
        instances.pred_masks = masks
        instances.pred_boxes = Boxes(boxes)
        instances.scores = found.scores
        instances.pred_classes = found.classes
        return instances

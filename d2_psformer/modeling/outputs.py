"""Masks and scores of one image -> panoptic_seg, sem_seg, instances."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..classes import Classes
from ..d2.structures import Boxes, Instances
from .merging import MaskWiseMerging
from .merging_pixelwise import MaskFormerMerging, PixelArgmaxMerging
from .merging_stuff import join_stuff
from .resized_masks import ResizedMasks


@dataclass(frozen=True)
class Predictions:
    """Candidates of one image.

    Attributes:
        masks: N of them, >= 0, unbounded, at the size (H, W) of the result.
        scores: (N,) class probability.
        classes: (N,) long, contiguous ids of the data set.
        is_thing: (N,) bool.
        queries: (N,) long, the query of its decoder that each candidate came from.
    """

    masks: ResizedMasks
    scores: Tensor
    classes: Tensor
    is_thing: Tensor
    queries: Tensor


@dataclass(frozen=True)
class ResultBuilder:
    """Makes the kinds of result that are switched on, in Detectron2's formats."""

    merging: MaskWiseMerging | PixelArgmaxMerging | MaskFormerMerging
    class_layout: Classes
    panoptic: bool = True
    semantic: bool = False
    instances: bool = False

    @classmethod
    def from_config(cls, cfg, class_layout: Classes) -> "ResultBuilder":
        node = cfg.MODEL.PSFORMER.TEST
        merging = _build_merging(node)
        return cls(merging, class_layout, node.PANOPTIC_ON, node.SEMANTIC_ON, node.INSTANCE_ON)

    def __call__(self, predictions: Predictions) -> dict:
        """Any of ``panoptic_seg``, ``sem_seg``, ``instances``, all from the same scores."""
        scores = self.merging.score(predictions.masks, predictions.scores)
        results = {}
        if self.panoptic:
            results["panoptic_seg"] = self.panoptic_seg(predictions, scores)
        if self.semantic:
            results["sem_seg"] = self.sem_seg(predictions, scores)
        if self.instances:
            results["instances"] = self.instance_seg(predictions, scores)
        return results

    def wanted(self, small_masks: Tensor, class_scores: Tensor) -> Tensor:
        """(N,) bool: candidates that can matter to a result; masks (N, h, w) before the resize."""
        if self.semantic or self.instances:
            return torch.ones_like(class_scores, dtype=torch.bool)  # these have no threshold
        return self.merging.may_stay(small_masks, class_scores)

    def panoptic_seg(self, predictions: Predictions, scores: Tensor) -> tuple[Tensor, list[dict]]:
        """Id map (H, W) int32, 0 = void, and its segments_info.

        Beside Detectron2's keys an entry has ``query``, for those who ask what it attended to.
        """
        id_map, segments = self.merging(predictions.masks, scores, predictions.is_thing)
        classes, is_thing = predictions.classes.tolist(), predictions.is_thing.tolist()
        queries = predictions.queries.tolist()
        id_map, segments = join_stuff(id_map, segments, classes, is_thing)
        return id_map, [
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

    def sem_seg(self, predictions: Predictions, scores: Tensor) -> Tensor:
        """Class scores (K, H, W): the maximum over a class's masks m of score * min(m, 1).

        Masks are not probabilities, so this is a choice: the score of a segment says how sure it
        is, its mask where it is.
        """
        shape = (self.class_layout.num_classes, *predictions.masks.size)
        semantic = scores.new_zeros(shape)
        classes = predictions.classes.tolist()
        for index, box, values in predictions.masks.regions(0.0):
            best = semantic[classes[index]][box]
            torch.maximum(best, scores[index] * values.clamp(max=1), out=best)
        return semantic

    def instance_seg(self, predictions: Predictions, scores: Tensor) -> Instances:
        """Things as ``Instances``: pred_masks, pred_boxes (from masks), scores, pred_classes."""
        size, things = predictions.masks.size, predictions.is_thing.tolist()
        found = {
            index: mask
            for index, mask in predictions.masks.above(self.merging.mask_threshold).items()
            if things[index] and mask.area
        }
        masks = torch.zeros((len(found), *size), dtype=torch.bool, device=scores.device)
        for whole, mask in zip(masks, found.values(), strict=True):
            whole[mask.box] = mask.pixels
        boxes = [mask.tight_box() for mask in found.values()]
        index = torch.tensor(list(found), dtype=torch.long, device=scores.device)
        instances = Instances(size)
        instances.pred_masks = masks
        instances.pred_boxes = Boxes(scores.new_tensor(boxes).view(-1, 4))
        instances.scores = scores[index].clamp(max=1)
        instances.pred_classes = predictions.classes[index]
        return instances


def _build_merging(node) -> MaskWiseMerging | PixelArgmaxMerging | MaskFormerMerging:
    """By the config node MODEL.PSFORMER.TEST; each takes those of the thresholds that it has."""
    thresholds = {
        "score_threshold": node.SCORE_THRESHOLD,
        "mask_threshold": node.MASK_THRESHOLD,
    }
    if node.MERGING == "pixel_argmax":
        return PixelArgmaxMerging(**thresholds)
    thresholds |= {
        "thing_overlap_threshold": node.THING_OVERLAP_THRESHOLD,
        "stuff_overlap_threshold": node.STUFF_OVERLAP_THRESHOLD,
    }
    if node.MERGING == "maskformer":
        return MaskFormerMerging(**thresholds)
    return MaskWiseMerging(class_power=node.CLASS_POWER, mask_power=node.MASK_POWER, **thresholds)

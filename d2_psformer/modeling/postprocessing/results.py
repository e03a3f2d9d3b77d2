"""Masks and scores of one image -> panoptic_seg, sem_seg, instances in Detectron2's formats."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...classes import Classes
from ...d2.structures import Boxes, Instances
from ...utils.checks import check_choice
from ..outputs import SegmenterOutputs
from .mask_wise import MaskWiseMerging
from .merge_stuff import merge_stuff_segments
from .pixel_wise import MaskFormerMerging, PixelArgmaxMerging
from .placement import Placement
from .resized_masks import ResizedMasks

Merging = MaskWiseMerging | PixelArgmaxMerging | MaskFormerMerging


@dataclass(frozen=True)
class MaskPredictions:
    """The masks of one image and what they show.

    Attributes:
        masks: N of them, at the size (H, W) of the result.
        scores: (N,) class probability.
        classes: (N,) long, contiguous class ids.
        is_thing: (N,) bool.
        queries: (N,) long, the query of its decoder that each mask belongs to.
    """

    masks: ResizedMasks
    scores: Tensor
    classes: Tensor
    is_thing: Tensor
    queries: Tensor

    @classmethod
    def of(
        cls,
        outputs: SegmenterOutputs,
        image: int,
        thing_ids: tuple[int, ...],
        placement: Placement,
    ) -> "MaskPredictions":
        """The last layer's outputs of all sets of queries for one image of the batch."""
        rows, columns = placement.valid_cells
        sets = list(outputs.queries.values())
        classes = torch.cat([x.classes[image] for x in sets])
        masks = torch.cat([x.masks[-1][image, :, :rows, :columns] for x in sets])
        return cls(
            masks=ResizedMasks(masks, placement.output, sets[0].mask_kind),
            scores=torch.cat([x.logits[-1][image, :, 0].float().sigmoid() for x in sets]),
            classes=classes,
            is_thing=torch.isin(classes, classes.new_tensor(thing_ids)),
            queries=torch.cat([_query_index(x, image) for x in sets]),
        )

    def select(self, kept: Tensor) -> "MaskPredictions":
        """Those with True in ``kept`` (N,)."""
        rest = (x[kept] for x in (self.scores, self.classes, self.is_thing, self.queries))
        return MaskPredictions(self.masks.select(kept), *rest)


@dataclass(frozen=True)
class Postprocessor:
    """Makes the kinds of result that are switched on.

    Attributes:
        thing_ids: contiguous ids of the classes that are things.
        num_classes: channels of ``sem_seg``.
    """

    merging: Merging
    thing_ids: tuple[int, ...]
    num_classes: int
    panoptic: bool = True
    semantic: bool = False
    instances: bool = False

    @classmethod
    def from_config(cls, cfg, classes: Classes) -> "Postprocessor":
        node = cfg.MODEL.POSTPROCESSING
        switches = node.PANOPTIC_ON, node.SEMANTIC_ON, node.INSTANCE_ON
        return cls(_build_merging(node), classes.thing_ids, classes.num_classes, *switches)

    def __call__(self, outputs: SegmenterOutputs, image: int, placement: Placement) -> dict:
        """Results of one image of a batch: any of ``panoptic_seg``, ``sem_seg``, ``instances``."""
        predictions = MaskPredictions.of(outputs, image, self.thing_ids, placement)
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
            results["sem_seg"] = self.sem_seg(predictions, scores)
        if self.instances:
            results["instances"] = self.instance_seg(predictions, scores)
        return results

    def panoptic_seg(
        self, predictions: MaskPredictions, scores: Tensor
    ) -> tuple[Tensor, list[dict]]:
        """Id map (H, W) int32, 0 = void, and its segments_info.

        In addition to Detectron2's keys an entry has ``query``, the query that found the segment.
        """
        id_map, segments = self.merging(predictions.masks, scores, predictions.is_thing)
        classes, is_thing = predictions.classes.tolist(), predictions.is_thing.tolist()
        queries = predictions.queries.tolist()
        id_map, segments = merge_stuff_segments(id_map, segments, classes, is_thing)
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

    def sem_seg(self, predictions: MaskPredictions, scores: Tensor) -> Tensor:
        """Class scores (K, H, W): the maximum over a class's masks m of score * min(m, 1).

        Masks are not probabilities, so this is a choice: the score of a segment says how sure it
        is, its mask where it is.
        """
        semantic = scores.new_zeros((self.num_classes, *predictions.masks.size))
        classes = predictions.classes.tolist()
        for index, box, values in predictions.masks.regions(0.0):
            best = semantic[classes[index]][box]
            torch.maximum(best, scores[index] * values.clamp(max=1), out=best)
        return semantic

    def instance_seg(self, predictions: MaskPredictions, scores: Tensor) -> Instances:
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


def _query_index(outputs, image: int) -> Tensor:
    if outputs.query_index is not None:
        return outputs.query_index[image]
    return torch.arange(outputs.classes.shape[1], device=outputs.classes.device)


def _build_merging(node) -> Merging:
    """The merging of the config node MODEL.POSTPROCESSING, with the thresholds that it has."""
    check_choice(("mask_wise", "pixel_argmax", "maskformer"), MERGING=node.MERGING)
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

"""The masks that a model predicts for one image, and what they show."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..outputs import QueryOutputs
from .placement import Placement
from .resized_masks import ResizedMasks


@dataclass(frozen=True)
class MaskPredictions:
    """Masks that show one class each.

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
        sets: list[QueryOutputs],
        image: int,
        thing_ids: tuple[int, ...],
        placement: Placement,
    ) -> "MaskPredictions":
        """The last layer's outputs of all sets of queries for one image of the batch.

        Cells that show padding are cut off before the only resize.
        """
        rows, columns = placement.valid_cells
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
class QueryPredictions:
    """Masks of queries that give every class a probability (all but Panoptic SegFormer).

    Attributes:
        masks: Q of them, at the size (H, W) of the result.
        probabilities: (Q, K + 1); the last one is that of "no object".
    """

    masks: ResizedMasks
    probabilities: Tensor

    @classmethod
    def of(cls, outputs: QueryOutputs, image: int, placement: Placement) -> "QueryPredictions":
        """The last layer's outputs for one image of the batch.

        As in the official codes, masks are resized to the canvas, cropped to the image, and resized
        to the output.
        """
        via = placement.canvas, placement.image
        options = outputs.mask_kind, via, placement.aligned_corners
        masks = ResizedMasks(outputs.masks[-1][image], placement.output, *options)
        return cls(masks, outputs.logits[-1][image].float().softmax(1))

    @property
    def class_probabilities(self) -> Tensor:
        """(Q, K)."""
        return self.probabilities[:, :-1]

    @property
    def is_object(self) -> Tensor:
        """(Q,) bool: False where "no object" is the most probable."""
        return self.probabilities.argmax(1) < self.class_probabilities.shape[1]

    def best(self, thing_ids: tuple[int, ...]) -> MaskPredictions:
        """Each query with its best class, "no object" left aside, in their order."""
        scores, classes = self.class_probabilities.max(1)
        is_thing = torch.isin(classes, classes.new_tensor(thing_ids))
        queries = torch.arange(len(scores), device=scores.device)
        return MaskPredictions(self.masks, scores, classes, is_thing, queries)


def _query_index(outputs: QueryOutputs, image: int) -> Tensor:
    if outputs.query_index is not None:
        return outputs.query_index[image]
    return torch.arange(outputs.classes.shape[1], device=outputs.classes.device)

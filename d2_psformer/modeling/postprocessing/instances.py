"""Masks of one image -> its instances."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .predictions import MaskPredictions, QueryPredictions
from .resized_masks import BinaryMask


@dataclass(frozen=True)
class FoundInstances:
    """
    Attributes:
        masks: N of them; None: without pixels.
        scores: (N,).
        classes: (N,) long, contiguous class ids.
    """

    masks: list[BinaryMask | None]
    scores: Tensor
    classes: Tensor


def things(predictions: MaskPredictions, scores: Tensor, threshold: float) -> FoundInstances:
    """The things that have pixels above the threshold; ``scores`` (N,) count as at most 1."""
    is_thing = predictions.is_thing.tolist()
    found = {
        index: mask
        for index, mask in predictions.masks.above(threshold).items()
        if is_thing[index] and mask.area
    }
    index = torch.tensor(list(found), dtype=torch.long, device=scores.device)
    return FoundInstances(
        list(found.values()), scores[index].clamp(max=1), predictions.classes[index]
    )


def best_instances(
    queries: QueryPredictions,
    threshold: float,
    count: int,
    thing_ids: tuple[int, ...] | None = None,
    keep_empty: bool = False,
) -> FoundInstances:
    """The ``count`` most probable pairs of query and class (Mask2Former), the best score first.

    A query can have several classes. The score of a pair is the class probability times the mean
    of the mask over its pixels above the threshold.

    Args:
        thing_ids: of the ``count`` pairs, those of other classes are left out; None: all stay.
        keep_empty: pairs without a pixel above the threshold stay, with a score of 0.
    """
    probabilities = queries.class_probabilities
    scores, pairs = probabilities.flatten().topk(min(count, probabilities.numel()))
    index, classes = pairs // probabilities.shape[1], pairs % probabilities.shape[1]
    large = {i: mask for i, mask in queries.masks.above(threshold).items() if mask.area}
    quality = scores.new_zeros(len(queries.masks))
    for query, mask in large.items():
        quality[query] = mask.total / (mask.area + 1e-6)
    scores, order = (scores * quality[index]).sort(descending=True, stable=True)
    index, classes = index[order], classes[order]
    kept = torch.full_like(order, keep_empty, dtype=torch.bool) | (quality[index] > 0)
    if thing_ids is not None:
        kept &= torch.isin(classes, classes.new_tensor(thing_ids))
    masks = [large.get(query) for query in index[kept].tolist()]
    return FoundInstances(masks, scores[kept], classes[kept])

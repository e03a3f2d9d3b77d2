"""Class scores of every pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .placement import Placement
from .predictions import MaskPredictions, QueryPredictions


def best_masks(predictions: MaskPredictions, scores: Tensor, num_classes: int) -> Tensor:
    """Class scores (K, H, W): the maximum over a class's masks m of score * min(m, 1).

    Masks are not probabilities, so this is a choice: the score of a segment says how sure it is,
    its mask where it is.

    Args:
        scores: (N,).
    """
    semantic = scores.new_zeros((num_classes, *predictions.masks.size))
    classes = predictions.classes.tolist()
    for index, box, values in predictions.masks.regions(0.0):
        best = semantic[classes[index]][box]
        torch.maximum(best, scores[index] * values.clamp(max=1), out=best)
    return semantic


def sum_over_queries(queries: QueryPredictions) -> Tensor:
    """Class scores (K, H, W): the sum over queries of class probability * mask (MaskFormer).

    They can exceed 1.
    """
    by_class = queries.class_probabilities.T
    semantic = by_class.new_empty((len(by_class), *queries.masks.size))
    for columns, values in queries.masks.strips():
        semantic[..., columns] = (by_class @ values.flatten(1)).unflatten(1, values.shape[1:])
    return semantic


def pixel_logits(logits: Tensor, placement: Placement) -> Tensor:
    """Logits (K, h, w) of cells -> (K, H, W) of the output's pixels.

    They are enlarged by the stride first, and cut to the image.
    """
    enlarged = F.interpolate(logits[None].float(), scale_factor=placement.stride, mode="bilinear")
    return crop_and_resize(enlarged[0], placement)


def crop_and_resize(maps: Tensor, placement: Placement) -> Tensor:
    """Maps (K, ., .) of the canvas -> (K, H, W) of the output."""
    height, width = placement.image
    return F.interpolate(maps[None, :, :height, :width], placement.output, mode="bilinear")[0]

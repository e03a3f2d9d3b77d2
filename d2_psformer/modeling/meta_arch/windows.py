"""Semantic inference in windows along the long side of an image, as EoMT is evaluated."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...utils.errors import UserError

Inference = Callable[[list[dict]], list[dict]]


def check_windows(cfg) -> None:
    """
    Raises:
        UserError: there are windows, but other results than semantic ones, or another image size.
    """
    node = cfg.MODEL.POSTPROCESSING
    if node.WINDOW and (node.PANOPTIC_ON or node.INSTANCE_ON or not node.SEMANTIC_ON):
        raise UserError(
            f"MODEL.POSTPROCESSING.WINDOW is {node.WINDOW}: windows are for semantic results "
            "alone, set PANOPTIC_ON and INSTANCE_ON False and SEMANTIC_ON True, or WINDOW 0."
        )
    if node.WINDOW and (cfg.INPUT.DEEPLAB2.ENABLED or cfg.INPUT.MIN_SIZE_TEST != node.WINDOW):
        raise UserError(
            f"MODEL.POSTPROCESSING.WINDOW is {node.WINDOW}: INPUT.MIN_SIZE_TEST must be the same, "
            "so that windows are squares, and INPUT.DEEPLAB2.ENABLED False."
        )


def infer_in_windows(infer: Inference, batched_inputs: list[dict], side: int) -> list[dict]:
    """``sem_seg`` of every image, the mean of its windows' where they overlap.

    Args:
        infer: gives ``sem_seg`` of images; all windows of an image are one batch.
        batched_inputs: see :meth:`.Segmenter.forward`.
        side: of the windows, pixels.
    """
    return [_infer_one(infer, inputs, side) for inputs in batched_inputs]


def _infer_one(infer: Inference, inputs: dict, side: int) -> dict[str, Tensor]:
    image = inputs["image"]
    height, width = image.shape[1:]
    is_tall = height > width
    starts = window_starts(max(height, width), side)
    parts = [slice(start, start + side) for start in starts]
    places = [(part, slice(None)) if is_tall else (slice(None), part) for part in parts]
    rest = {key: value for key, value in inputs.items() if key not in ("height", "width")}
    results = infer([{**rest, "image": image[:, rows, columns]} for rows, columns in places])
    scores = results[0]["sem_seg"].new_zeros(len(results[0]["sem_seg"]), height, width)
    counts = torch.zeros_like(scores[0])
    for (rows, columns), result in zip(places, results, strict=True):
        scores[:, rows, columns] += result["sem_seg"]
        counts[rows, columns] += 1
    size = inputs.get("height", height), inputs.get("width", width)
    return {"sem_seg": F.interpolate((scores / counts)[None], size, mode="bilinear")[0]}


def window_starts(length: int, side: int) -> list[int]:
    """The first pixels of the fewest windows that cover ``length`` pixels, equally spread."""
    count = math.ceil(length / side)
    step = (length - side) / max(1, count - 1)
    return [int(number * step) for number in range(count)]

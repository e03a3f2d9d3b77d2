"""Refusing images and outputs with NaN or infinity, which would pass for an empty image."""

import torch
from torch import Tensor

from ...utils.errors import NotFiniteError, raise_not_finite
from ..outputs import SegmenterOutputs


def check_finite_images(batched_inputs: list[dict]) -> None:
    """
    Args:
        batched_inputs: Detectron2's dicts with ``image`` and, where it is known, ``file_name``.

    Raises:
        NotFiniteError: an image holds NaN or infinity; named by its file or its place.
    """
    for index, inputs in enumerate(batched_inputs):
        image = inputs["image"]
        if image.is_floating_point() and not image.isfinite().all():
            name = _name(batched_inputs, index)
            raise_not_finite(f"{name} holds NaN or infinity: repair it or take it out.")


def check_finite_outputs(outputs: SegmenterOutputs, batched_inputs: list[dict]) -> None:
    """
    Raises:
        NotFiniteError: the class scores or the masks of an image are not finite.
    """
    queries = outputs.queries.values()
    scores = [x for y in queries for x in y.logits[-1:]] + outputs.pixel_logits[-1:]
    for tensor in scores:
        _check("class scores", tensor, batched_inputs)
    for masks in (x for y in queries for x in y.masks[-1:]):
        _check("masks", masks, batched_inputs)


def _check(what: str, values: Tensor, batched_inputs: list[dict]) -> None:
    """
    Args:
        values: (B, ...).
    """
    # A finite sum takes a tenth of the time; that of immense numbers may not be finite either.
    if values.sum(dtype=torch.float32).isfinite():
        return
    wrong = ~values.isfinite().flatten(1).all(1)
    if wrong.any():
        name = _name(batched_inputs, int(wrong.int().argmax()))
        raise NotFiniteError(
            f"{name} has {what} of NaN or infinity: the weights have diverged, or {values.dtype} "
            "is too narrow for this model. Set MODEL.AUTOCAST to float32."
        )


def _name(batched_inputs: list[dict], index: int) -> str:
    file = batched_inputs[index].get("file_name")
    return f"Image '{file}'" if file else f"Image {index + 1} of {len(batched_inputs)}"

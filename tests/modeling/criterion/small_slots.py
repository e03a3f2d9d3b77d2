"""Predictions of slots and ground truth for tests of MaX-DeepLab's losses."""

import torch
import torch.nn.functional as F
from small_targets import STUFF, THINGS, image_targets

from d2_psformer.modeling.criterion import (
    InstanceDiscrimination,
    MaskId,
    MaXDeepLabCriterion,
    PQStyle,
    SemanticEntropy,
    Targets,
)
from d2_psformer.modeling.outputs import SOFTMAX, QueryOutputs, SegmenterOutputs

CLASSES = len(THINGS) + len(STUFF)
TERMS = (PQStyle(3.0), MaskId(0.3), InstanceDiscrimination(1.0), SemanticEntropy(1.0))


def small_criterion(*terms) -> MaXDeepLabCriterion:
    return MaXDeepLabCriterion(terms or TERMS)


def slot_outputs(
    images: int, slots: int = 9, size: tuple[int, int] = (9, 13), classes: int = CLASSES
) -> SegmenterOutputs:
    """Random, leaves of the graph."""

    def leaf(*shape: int) -> torch.Tensor:
        return (2 * torch.randn(images, *shape)).requires_grad_()

    embedding = F.normalize(torch.randn(images, 5, *size), dim=1).requires_grad_()
    queries = QueryOutputs([leaf(slots, classes + 1)], [leaf(slots, *size)], mask_kind=SOFTMAX)
    return SegmenterOutputs({"queries": queries}, [leaf(classes + 1, *size)], embedding)


def parts(outputs: SegmenterOutputs) -> dict[str, torch.Tensor]:
    """The tensors that the losses read, by name."""
    [queries] = outputs.queries.values()
    return {
        "logits": queries.logits[-1],
        "masks": queries.masks[-1],
        "pixel_logits": outputs.pixel_logits[-1],
        "embedding": outputs.pixel_embedding,
    }


def slot_targets(*classes: int) -> Targets:
    """Slanted bands on 33 x 49 pixels, 9 x 13 cells, the right and the bottom of them void."""
    return image_targets(*classes, canvas=(33, 49))

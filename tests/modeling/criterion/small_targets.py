"""Ground truth for tests of the criterion."""

import torch
from small_models import segments

from d2_psformer.modeling.criterion import Targets, prepare_targets

THINGS, STUFF = (0, 1, 2), (3, 4, 5, 6)


def random_targets(count: int, num_classes: int = 4, size: tuple[int, int] = (48, 64)) -> Targets:
    """``count`` things of any classes, places and masks."""
    return Targets(
        classes=torch.randint(num_classes, (count,)),
        boxes=torch.rand(count, 4) * 0.4 + 0.1,
        masks=torch.rand(count, *size) < 0.4,
        is_thing=torch.ones(count, dtype=torch.bool),
        image_size=size,
    )


def image_targets(
    *classes: int, size: tuple[int, int] = (32, 48), canvas: tuple[int, int] = (32, 48)
) -> Targets:
    """The slanted bands of :func:`small_models.segments` on a canvas."""
    return prepare_targets(segments(*size, list(classes)), THINGS, STUFF, canvas)

"""Random numbers in the order in which the official Mask2Former draws them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor

from d2_psformer.modeling.criterion import SetCriterion


@contextmanager
def official_points(
    criterion: SetCriterion,
    draw: Callable[[int, tuple[int, ...]], Tensor],
    images: int,
    layers: int,
    last_first: bool = True,
) -> Iterator[None]:
    """Give a criterion of ours the numbers of the official one.

    We match all layers, then compute the losses; the official code takes layer by layer: it matches
    every image and then draws the points of the losses twice.

    Args:
        draw: gives the numbers of the official draw of this index, of this shape.
        images: of the batch.
        last_first: as in Mask2Former; in EoMT the last layer comes last.
    """
    place = [*range(1, layers), 0] if last_first else [*range(layers)]
    order = [(images + 2) * place[layer] + i for layer in range(layers) for i in range(images)]
    order += [(images + 2) * place[layer] + images + i for layer in range(layers) for i in (0, 1)]
    calls = iter(order)

    def rand(shape, device=None):
        return draw(next(calls), tuple(shape))

    matcher, samplers = criterion.matcher, (criterion.matcher.masks, criterion.masks)
    matcher.masks, criterion.masks = (replace(sampler, rand=rand) for sampler in samplers)
    try:
        yield
    finally:
        matcher.masks, criterion.masks = samplers
    assert next(calls, None) is None, "every draw is used"

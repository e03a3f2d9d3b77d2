"""Arguments of the operator that are partly huge, infinite or NaN, and what it makes of them."""

import math
import random

import torch
from kernel_cases import check, in_double

from d2_psformer.ops import reference
from d2_psformer.ops.inputs import Inputs

NOT_FINITE = (math.nan, math.inf, -math.inf)
# Twice as large or times the size of a level, the finite ones overflow.
PLACES = (*NOT_FINITE, 1.7e38, -1.8e38, 3.4e38, -3.4e38)
POINTS = 2


def wild_inputs(seed, dtype=torch.float32, parts=("sampling", "attention", "value", "reference")):
    """Small random arguments; up to three numbers of some of the ``parts`` are wild.

    All others that say where to sample are quarters or eighths and all sizes are powers of two, so
    that every type and backend computes the very same places.
    """
    choose, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    shapes = [(choose.choice((1, 2, 4)), choose.choice((1, 2, 8))) for _ in range(2)]
    heads, channels, queries = (choose.choice(of) for of in ((1, 2), (1, 3, 16, 32), (1, 40)))
    components = choose.choice((0, 2, 4))
    rows = (2, queries, heads, len(shapes), POINTS)
    length = sum(h * w for h, w in shapes)
    value = torch.randn(2, length, heads, channels, generator=generator)
    attention = torch.randn(rows, generator=generator)
    boxes = torch.randint(9, (2, queries, len(shapes), components), generator=generator) / 8
    sampling = torch.randint(-8, 33, (*rows, 2), generator=generator) / 4
    if components == 0:
        sampling[sampling == -1] = 0  # grid_sample has the slope of the other side there
        sampling = (sampling + 0.5) / torch.tensor([(w, h) for h, w in shapes])[:, None]
    tensors = {"value": value, "sampling": sampling, "attention": attention, "reference": boxes}
    for name, tensor in tensors.items():
        if name in parts and tensor.numel() and choose.random() < 0.5:
            for at in choose.choices(range(tensor.numel()), k=3):
                tensor.view(-1)[at] = choose.choice(PLACES if name == "sampling" else NOT_FINITE)
    value, sampling, attention = (x.to(dtype) for x in (value, sampling, attention))
    return Inputs(value, shapes, sampling, attention, boxes if components else None)


def check_wild(kernel, seed, dtype=torch.float32, tolerance=1e-4):
    """What is not finite shows where it counts, and changes nothing else."""
    inputs = wild_inputs(seed, dtype)
    found = kernel.forward(inputs).double()
    value, shapes, sampling, attention, boxes = in_double(inputs)
    if boxes is not None:
        sampling = reference.locations_of(sampling, shapes, boxes)
        attention = reference.weights_of(attention)

    def sampled(pixels, weights):
        return reference.forward(Inputs(pixels, shapes, sampling, weights, None))

    clean = sampled(value.nan_to_num(0, 0, 0), attention)
    counts = attention.isfinite() & (attention != 0)
    must = (sampled((~value.isfinite()).double(), counts.double()) > 0) | ~clean.isfinite()
    may = ~sampled(value, attention).isfinite()  # grid_sample multiplies pixels by zero
    finite = found.isfinite()
    assert not finite[must].any()
    assert finite[~may].all()
    torch.testing.assert_close(found[finite], clean[finite], atol=tolerance, rtol=tolerance)
    check_gradients(kernel, wild_inputs(seed, dtype, ("sampling",)), tolerance)


def check_gradients(kernel, inputs, tolerance):
    """Places that are nowhere have the gradient zero."""
    if inputs.reference is None:
        return check(kernel, inputs, tolerance)
    grads = kernel.backward(torch.ones_like(kernel.forward(inputs)), inputs)
    assert all(grad.isfinite().all() for grad in grads)

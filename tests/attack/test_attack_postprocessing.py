"""Whatever a model predicts, its results keep their promises."""

import functools

import pytest
import torch
from attack_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from small_models import EVERY_ARCHITECTURE, INFERENCE, check_results, every_result, tiny_model

from d2_psformer.modeling.meta_arch.preprocessing import ImageBatch
from d2_psformer.modeling.outputs import QueryOutputs, SegmenterOutputs

NAMES = (*EVERY_ARCHITECTURE, "pixel argmax", "maskformer merging")
assert set(NAMES) - set(INFERENCE) == set(EVERY_ARCHITECTURE)


@functools.cache
def model_of(name: str):
    return tiny_model(**every_result(name)).eval()


@functools.cache
@torch.no_grad()
def outputs_of(name: str, canvas: tuple[int, int]) -> SegmenterOutputs:
    """Of the shapes that the model gives for one image on the canvas."""
    return model_of(name).predict(torch.zeros(1, 3, *canvas))


def wild(tensor: torch.Tensor, seed: int) -> torch.Tensor:
    """Numbers of that shape: usual or huge ones, few different ones, or all the same."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(tensor.shape, generator=generator)
    kinds = (noise, 3 * noise, 1e4 * noise, 1e30 * noise, noise.round(), noise.sign(), 0 * noise)
    return kinds[seed % len(kinds)]


def wild_queries(queries: QueryOutputs, seed: int) -> QueryOutputs:
    masks = wild(queries.masks[-1], seed // 7)
    if queries.mask_kind == "score":
        masks = masks.abs()
    logits = wild(queries.logits[-1], seed // 49)
    parts = {"classes": queries.classes, "query_index": queries.query_index}
    return QueryOutputs([logits], [masks], mask_kind=queries.mask_kind, **parts)


@pytest.mark.parametrize("name", NAMES)
@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 64), st.integers(1, 64)),
    output=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
@cases(8)
def test_wild_outputs(name, seed, size, output):
    """A pixel is in one segment or void, a segment has pixels, areas and scores are right."""
    model = model_of(name)
    side = 65 if model.aligned_corners else 64
    outputs = outputs_of(name, (side, side))
    outputs = SegmenterOutputs(
        {key: wild_queries(queries, seed) for key, queries in outputs.queries.items()},
        [wild(x, seed) for x in outputs.pixel_logits],
    )
    batch = ImageBatch(torch.zeros(1, 3, side, side), None, [size])
    [result] = model.postprocess(outputs, batch, [{"height": output[0], "width": output[1]}])
    check_results(result, output)

"""The operator: numbers that are huge, infinite or NaN, and arguments of every wrong kind."""

import pytest
import torch
from attack_cases import cases
from attention_inputs import FORMS, random_inputs, skip_without
from hypothesis import given
from hypothesis import strategies as st
from wild_cases import check_wild

from d2_psformer.ops import backends, fused_ms_deform_attn, ms_deform_attn

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 4e-3}


@pytest.mark.parametrize("backend", ["pytorch", "cpu"])
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from(list(TOLERANCES)))
@cases(30)
def test_wild_numbers(backend, seed, dtype):
    skip_without(backend)
    check_wild(backends.module(backend), seed, dtype, TOLERANCES[dtype])


def junk_tensors(tensor):
    """What may be given in the place of a tensor, right or wrong."""
    return [
        *(None, 3, 2.5, "value", [1.0, 2.0], tensor.numpy(), tensor.tolist(), object()),
        *(tensor.to(dtype) for dtype in JUNK_TYPES),
        *(tensor[:0], tensor[:1], tensor[0], tensor[..., :0], tensor[..., None], tensor.sum()),
        *(tensor.to("meta"), tensor.to_sparse(), tensor.transpose(0, 1), tensor.transpose(1, 2)),
        *(tensor.flip(-1), tensor[:, :0], tensor[:, :1].expand_as(tensor), tensor.flatten()),
        torch.nested.as_nested_tensor(list(tensor), layout=torch.jagged),
    ]


JUNK_TYPES = (
    *(torch.int64, torch.bool, torch.complex64),
    *(torch.float8_e5m2, torch.float64, torch.half),
)
JUNK_SHAPES = [
    *(None, 3, 2.5, "34", "3422", [3, 4], [[3, 4], [2]], [[3.5, 4], [2, 2]], ["34", "22"]),
    *([], [[]], [[0, 16]], [[-4, -4]], [[2**40, 2**40]], [[2**70, 1]], [[16, True]], [[None, 2]]),
    *(
        {(3, 4): 1, (2, 2): 2},
        (x for x in [(3, 4), (2, 2)]),
        [(2, 2), (3, 4)],
        [[float("nan")] * 2],
    ),
    *(torch.tensor([[3, 4], [2, 2]]), torch.tensor([[3.0, 4.0], [2.0, 2.0]]), torch.ones(2, 2, 2)),
    *(torch.tensor([[3.5, 4.0], [2.0, 2.0]]), torch.tensor([[3, 4], [2, 2]]).to("meta"), object()),
    *(torch.tensor([[3, 4], [2, 2]]).numpy(), torch.tensor([[3, 4], [2, 2]]).to_sparse()),
]


@given(data=st.data(), components=st.sampled_from(FORMS))
@cases(100)
def test_wrong_arguments(data, components):
    """A result, or the documented ValueError (RuntimeError of a backend that there is not)."""
    inputs = list(random_inputs(components=components))
    for place in data.draw(st.sets(st.integers(0, 4), min_size=1, max_size=2)):
        if inputs[place] is not None:
            junk = JUNK_SHAPES if place == 1 else junk_tensors(inputs[place])
            inputs[place] = data.draw(st.sampled_from(junk))
    backend = data.draw(st.sampled_from([None, "cpu", "pytorch", "auto", "", 3, ["cpu"]]))
    function = ms_deform_attn if components is None else fused_ms_deform_attn
    try:
        output = function(*inputs[: 4 if components is None else 5], backend=backend)
    except ValueError as error:
        assert str(error)
    except RuntimeError:
        assert backend == "cpu"
        assert backends.unavailable("cpu")
    else:
        assert output.isfinite().all()

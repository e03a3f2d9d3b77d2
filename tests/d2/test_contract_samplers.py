"""The sampler of evaluation, the same on both backends."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.d2.data import InferenceSampler
from d2_psformer.d2.utils import comm
from d2_psformer.utils.errors import UserError


@given(size=st.integers(1, 50), world_size=st.integers(1, 9))
def test_inference_sees_every_sample_once(size, world_size):
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(world_size):
            patch.setattr(comm, "get_rank", lambda rank=rank: rank)
            patch.setattr(comm, "get_world_size", lambda: world_size)
            sampler = InferenceSampler(size)
            shares.append(list(sampler))
            assert len(sampler) == len(shares[-1])
    assert list(itertools.chain(*shares)) == list(range(size))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


def test_nothing_cannot_be_evaluated():
    with pytest.raises((AssertionError, UserError)):
        InferenceSampler(0)

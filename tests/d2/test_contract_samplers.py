"""What both backends promise of samplers: imports from the façade alone."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.d2.data import InferenceSampler, TrainingSampler
from d2_psformer.d2.utils import comm, seed_all_rng


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def as_process(monkeypatch, rank, world_size):
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)


def test_every_epoch_is_another_permutation():
    stream = take(TrainingSampler(30, seed=3), 90)
    epochs = [stream[i : i + 30] for i in (0, 30, 60)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_stream_follows_from_the_seed():
    first = take(TrainingSampler(30, seed=3), 60)
    seed_all_rng(99)
    assert take(TrainingSampler(30, seed=3), 60) == first
    assert take(TrainingSampler(30, seed=4), 60) != first


def test_the_default_seed_follows_from_the_global_one():
    seed_all_rng(5)
    sampler = TrainingSampler(30)
    seed_all_rng(99)  # No influence any more.
    first = take(sampler, 60)
    seed_all_rng(5)
    assert take(TrainingSampler(30), 60) == first


def test_without_shuffling_it_counts():
    assert take(TrainingSampler(3, shuffle=False), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_the_stream_is_torch_s_permutations_of_one_generator():
    """Stated exactly, because a resumed training must meet the same images on either backend."""
    generator = torch.Generator().manual_seed(7)
    epochs = [torch.randperm(8, generator=generator).tolist() for _ in range(2)]
    assert take(TrainingSampler(8, seed=7), 16) == epochs[0] + epochs[1]


def test_processes_share_the_stream(monkeypatch):
    whole = take(TrainingSampler(10, seed=3), 60)
    for rank in range(3):
        as_process(monkeypatch, rank, 3)
        assert take(TrainingSampler(10, seed=3), 20) == whole[rank::3]


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_a_size_without_sense_is_refused(size, error):
    with pytest.raises(error):
        TrainingSampler(size)


@given(size=st.integers(1, 50), world_size=st.integers(1, 9))
def test_inference_sees_every_sample_once(size, world_size):
    with pytest.MonkeyPatch.context() as patch:
        shares = []
        for rank in range(world_size):
            as_process(patch, rank, world_size)
            sampler = InferenceSampler(size)
            shares.append(list(sampler))
            assert len(sampler) == len(shares[-1])
    assert list(itertools.chain(*shares)) == list(range(size))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


def test_nothing_cannot_be_evaluated():
    with pytest.raises(AssertionError):
        InferenceSampler(0)

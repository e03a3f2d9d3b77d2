import random
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.engine.sampler import ResumableSampler, SeededDataset
from d2_psformer.engine.seeding import derive_seed

SIZES = st.integers(1, 30)
SEEDS = st.integers(0, 2**40)


def stream(size: int, seed: int, count: int, **options) -> list[tuple[int, int]]:
    return list(islice(ResumableSampler(size, seed, **options), count))


@given(SIZES, SEEDS)
def test_every_epoch_shows_every_item_once(size, seed):
    items = [item for _, item in stream(size, seed, 3 * size)]
    for epoch in range(3):
        assert sorted(items[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_epochs_and_seeds_differ_in_order():
    orders = {tuple(item for _, item in stream(50, seed, 100)) for seed in range(5)}
    assert len(orders) == 5
    assert all(order[:50] != order[50:] for order in orders)


@given(SIZES, SEEDS, st.integers(0, 200))
def test_it_can_start_anywhere(size, seed, start):
    assert stream(size, seed, 20, start=start) == stream(size, seed, start + 20)[start:]


@given(SIZES, SEEDS, st.integers(1, 5), st.integers(0, 50))
def test_processes_share_one_stream(size, seed, world_size, start):
    shares = [
        stream(size, seed, 10, start=start, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    merged = [sample for together in zip(*shares, strict=True) for sample in together]
    assert merged == stream(size, seed, 10 * world_size, start=start)


def test_no_data():
    with pytest.raises(ValueError, match="empty"):
        ResumableSampler(0, 1)


def draw(item: int) -> tuple:
    return item, random.random(), np.random.rand(), torch.rand(1).item()


def test_samples_draw_by_their_place_alone():
    dataset = SeededDataset([10, 11, 12], draw, seed=4)
    first = dataset[5, 2]
    dataset[6, 0]
    assert dataset[5, 2] == first
    assert first[0] == 12
    assert dataset[8, 2][1:] != first[1:]
    assert SeededDataset([10, 11, 12], draw, seed=5)[5, 2][1:] != first[1:]
    assert len(dataset) == 3


@given(SEEDS, st.lists(st.integers(0, 2**40), max_size=4))
def test_seeds_fit_every_generator(seed, place):
    assert 0 <= derive_seed(seed, "order", *place) < 2**32


def test_seeds_do_not_meet():
    places = [
        (s, p, a, b) for s in range(9) for p in ("x", "y") for a in range(9) for b in range(9)
    ]
    assert len({derive_seed(*place) for place in places}) == len(places)

"""Which samples a process sees, and in which order."""

import itertools
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from ..utils import comm


class TrainingSampler(Sampler):
    """An endless stream of shuffled epochs, of which process r of n takes every n-th index from r.

    The stream follows from ``seed`` alone and is the same in all processes.

    Args:
        size: number of samples of the data set.
        shuffle: each epoch is a new permutation, else ``range(size)``.
        seed: None draws one that all processes share.
    """

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None):
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler needs an int as size, got {type(size).__name__}.")
        if size <= 0:
            raise ValueError(f"TrainingSampler needs at least one sample, got {size}.")
        self._size = size
        self._shuffle = shuffle
        self._seed = int(comm.shared_random_seed() if seed is None else seed)
        self._rank = comm.get_rank()
        self._world_size = comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        yield from itertools.islice(self._stream(), self._rank, None, self._world_size)

    def _stream(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            if self._shuffle:
                yield from torch.randperm(self._size, generator=generator).tolist()
            else:
                yield from range(self._size)


class InferenceSampler(Sampler):
    """Every sample exactly once: each process gets one run of indices; the first may have one more.

    Args:
        size: number of samples of the data set.
    """

    def __init__(self, size: int):
        assert size > 0, "There is nothing to evaluate: the data set is empty."
        self._local_indices = self._get_local_indices(size, comm.get_world_size(), comm.get_rank())

    @staticmethod
    def _get_local_indices(total_size: int, world_size: int, rank: int) -> range:
        share, left_over = divmod(total_size, world_size)
        begin = rank * share + min(rank, left_over)
        return range(begin, begin + share + (rank < left_over))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)

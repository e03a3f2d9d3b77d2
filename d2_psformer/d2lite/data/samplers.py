"""The samples that a process evaluates."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from ..errors import UserError
from ..utils import comm


class InferenceSampler(Sampler):
    """Every sample exactly once: each process gets one run of indices; the first may have one more.

    Args:
        size: number of samples of the data set.
    """

    def __init__(self, size: int):
        if size <= 0:
            raise UserError("There is nothing to evaluate: the data set is empty.")
        share, left_over = divmod(size, comm.get_world_size())
        rank = comm.get_rank()
        begin = rank * share + min(rank, left_over)
        self._local_indices = range(begin, begin + share + (rank < left_over))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)

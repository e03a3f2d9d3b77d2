"""The endless stream of training samples, the same in every run of one seed."""

from collections.abc import Callable, Iterator
from itertools import count

import torch
from torch.utils.data import Dataset, Sampler

from ..utils.errors import UserError
from .seeding import derive_seed, seed_generators

Sample = tuple[int, int]


class ResumableSampler(Sampler[Sample]):
    """Yields (place in the stream, item of the data set) for one of several processes.

    The stream is one seeded permutation of the data set after another; process r of R takes the
    places ``start + r, start + r + R, ...``.

    Args:
        size: items in the data set.
        start: first place in the stream, e.g. iterations done x images an iteration.
    """

    def __init__(self, size: int, seed: int, *, start: int = 0, rank: int = 0, world_size: int = 1):
        if size < 1:
            raise UserError("The training data set is empty: check DATASETS.TRAIN.")
        self.size = size
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[Sample]:
        current, order = -1, []
        for place in count(self.start + self.rank, self.world_size):
            epoch, position = divmod(place, self.size)
            if epoch != current:
                current, order = epoch, self._permutation(epoch)
            yield place, order[position]

    def _permutation(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return torch.randperm(self.size, generator=generator).tolist()


class SeededDataset(Dataset):
    """Maps the samples that :class:`ResumableSampler` yields, each with random numbers of its own.

    Args:
        items: data-set dicts; indexing must give a copy (``DatasetFromList`` does).
        mapper: turns such a dict into a training sample; may use Python's, NumPy's and torch's
            global generators.
    """

    def __init__(self, items, mapper: Callable[[dict], dict], seed: int):
        self.items = items
        self.mapper = mapper
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, sample: Sample) -> dict:
        place, item = sample
        seed_generators(derive_seed(self.seed, "sample", place))
        return self.mapper(self.items[item])

"""Data sets out of lists, functions and samplers, and batches of like shapes."""

import copy
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import data

logger = logging.getLogger(__name__)


class _SerializedList:
    """A list kept as one byte tensor, which worker processes share instead of copying.

    A list of python objects is copied page by page into each forked worker as soon as its
    reference counts are touched: gigabytes on a data set of COCO's size.
    """

    def __init__(self, items: list):
        records = [pickle.dumps(item, protocol=-1) for item in items]
        self._ends = torch.from_numpy(np.cumsum([len(record) for record in records]))
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(records)), dtype=np.uint8))
        size = self._bytes.numel() / 1024**2
        logger.info("%d samples take %.2f MiB in memory.", len(items), size)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        begin = 0 if index == 0 else int(self._ends[index - 1])
        return pickle.loads(memoryview(self._bytes[begin : int(self._ends[index])].numpy()))


class DatasetFromList(data.Dataset):
    """A list as a data set.

    Args:
        lst: the samples.
        copy: give out deep copies, so that users may change what they get.
        serialize: keep the list pickled (see :class:`_SerializedList`), which copies anyway.
    """

    def __init__(self, lst: list, copy: bool = True, serialize: bool = True):
        self._copy = copy and not serialize
        self._lst = _SerializedList(lst) if serialize else lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, index: int) -> Any:
        return copy.deepcopy(self._lst[index]) if self._copy else self._lst[index]


class MapDataset(data.Dataset):
    """``map_func`` applied to every sample; where it returns None, another sample is taken."""

    def __init__(self, dataset: data.Dataset, map_func: Callable[[Any], Any]):
        self._dataset = dataset
        self._map_func = map_func
        self._rng = random.Random(42)
        self._usable = set(range(len(dataset)))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        current = int(index)
        while (sample := self._map_func(self._dataset[current])) is None:
            logger.warning("Sample %d cannot be used; taking another one.", current)
            self._usable.discard(current)
            if not self._usable:
                raise RuntimeError("No sample can be used: the mapper returned None for them all.")
            current = self._rng.sample(list(self._usable), k=1)[0]
        self._usable.add(current)
        return sample


class ToIterableDataset(data.IterableDataset):
    """The samples of ``dataset`` in the order of ``sampler``, divided among the loader's workers.

    Args:
        dataset: map-style data set.
        sampler: produces indices; every worker runs through all of them and keeps its share.
        shard_chunk_size: consecutive indices that stay together in one worker; with the batch
            size here, batches are the same for any number of workers.
    """

    def __init__(self, dataset: data.Dataset, sampler: data.Sampler, shard_chunk_size: int = 1):
        self.dataset = dataset
        self.sampler = sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator:
        worker = data.get_worker_info()
        for position, index in enumerate(self.sampler):
            chunk = position // self.shard_chunk_size
            if worker is None or chunk % worker.num_workers == worker.id:
                yield self.dataset[index]

    def __len__(self) -> int:
        return len(self.sampler)


class AspectRatioGroupedDataset(data.IterableDataset):
    """Batches of only wide (width > height) or only tall images: less padding.

    Args:
        dataset: iterable of dicts with ``width`` and ``height``.
        batch_size: length of each list that comes out; what does not fill one is left out.
    """

    def __init__(self, dataset: Iterable[dict], batch_size: int):
        self.dataset = dataset
        self.batch_size = batch_size
        self._buckets: tuple[list, list] = ([], [])

    def __iter__(self) -> Iterator[list[dict]]:
        for sample in self.dataset:
            bucket = self._buckets[sample["width"] <= sample["height"]]
            bucket.append(sample)
            if len(bucket) == self.batch_size:
                batch = bucket[:]
                bucket.clear()  # Before the yield: code after it may never run.
                yield batch

"""Data sets made of lists and of functions."""

import copy
import logging
import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils import data

from ...utils.wording import counted

logger = logging.getLogger(__name__)


class _SerializedList:
    """A list kept as one byte tensor, which worker processes share instead of copying.

    A list of Python objects is copied page by page into each forked worker as soon as its
    reference counts change: gigabytes on a data set of COCO's size.
    """

    def __init__(self, items: list):
        records = [pickle.dumps(item, protocol=-1) for item in items]
        self._ends = torch.from_numpy(np.cumsum([len(record) for record in records]))
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(records)), dtype=np.uint8))
        size = self._bytes.numel() / 1024**2
        logger.info("Size in memory: %.2f MiB of %s.", size, counted(len(items), "sample"))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Any:
        begin = 0 if index == 0 else int(self._ends[index - 1])
        return pickle.loads(memoryview(self._bytes[begin : int(self._ends[index])].numpy()))


class DatasetFromList(data.Dataset):
    """A list as a data set.

    Args:
        lst: the samples.
        copy: return deep copies, so that users may change what they get.
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
            current = self._rng.choice(list(self._usable))
        self._usable.add(current)
        return sample

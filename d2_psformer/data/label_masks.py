"""Masks of one image that do not overlap."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..d2.structures import BitMasks


class LabelMasks(BitMasks):
    """BitMasks that are stored as one label map and expanded when ``tensor`` is read.

    A worker of the loader sends, and a GPU receives, one number per pixel instead of one bool per
    pixel and mask. Indexing and ``cat`` return plain BitMasks.

    Args:
        labels: integers (H, W).
        numbers: (N,): mask k has the pixels of label ``numbers[k]``.
    """

    def __init__(self, labels: Tensor, numbers: Tensor):
        self.labels = labels
        self.numbers = numbers.to(labels.dtype)
        self.image_size = labels.shape

    @cached_property
    def tensor(self) -> Tensor:
        """bool (N, H, W)."""
        return self.labels == self.numbers[:, None, None]

    def to(self, *args: Any, **kwargs: Any) -> "LabelMasks":
        """These masks on another device."""
        return LabelMasks(self.labels.to(*args, **kwargs), self.numbers.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.labels.device

    @staticmethod
    def cat(bitmasks_list: Sequence[BitMasks]) -> BitMasks:
        """All masks of a list in one, where they may overlap."""
        return BitMasks(torch.cat([masks.tensor for masks in bitmasks_list]))

    def __len__(self) -> int:
        return len(self.numbers)

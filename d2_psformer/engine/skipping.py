"""Training images that cannot be read, replaced and counted: DATALOADER.ON_ERROR "skip"."""

import logging
from collections.abc import Iterator

from ..d2.engine import HookBase
from ..d2.utils import comm
from ..utils.errors import CarriedError, UserError, sentence_of
from ..utils.wording import counted
from .loader_worker import RaisingLoader
from .sampler import Sample, SeededDataset

logger = logging.getLogger(__name__)
_KEY = "skipped_images"


class SkippingDataset(SeededDataset):
    """Takes the next image of the data set in place of one that cannot be read.

    What a sample is depends on its place in the stream alone: a resumed run equals an
    uninterrupted one. A sample that took the place of others has their errors, by file name.

    Args:
        limit: images in a row that are skipped, at most.
    """

    def __init__(self, items, mapper, seed: int, limit: int):
        super().__init__(items, mapper, seed)
        self.limit = limit

    def __getitem__(self, sample: Sample) -> dict | CarriedError:
        place, item = sample
        errors = {}
        for step in range(min(self.limit + 1, len(self))):
            other = (item + step) % len(self)
            found = super().__getitem__((place, other))
            if not isinstance(found, CarriedError):
                return {**found, _KEY: errors} if errors else found
            errors[self.items[other]["file_name"]] = sentence_of(found.error)
        return found


class SkippingLoader(RaisingLoader):
    """A loader of :class:`SkippingDataset`.

    Attributes:
        skipped: errors by file name, of the batches so far.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.skipped: dict[str, str] = {}

    def __iter__(self) -> Iterator[list[dict]]:
        for batch in super().__iter__():
            for sample in batch:
                self.skipped |= sample.pop(_KEY, {})
            yield batch


class SkippedImages(HookBase):
    """Counts the images that all processes have skipped, in the log and as ``skipped_images``.

    Args:
        limit: DATALOADER.MAX_SKIPPED.

    Raises (after a step):
        UserError: there are more.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._names: list[str] = []

    def after_step(self) -> None:
        every = comm.gather(self.trainer.loader.skipped)
        errors = {name: text for skipped in every for name, text in skipped.items()}
        for name in sorted(errors.keys() - {*self._names}):  # none where it is not the main process
            self._names.append(name)
            logger.warning("Skipped image %d: %s", len(self._names), errors[name])
            check_limit(len(self._names), self.limit, errors[name])
        if comm.is_main_process():
            self.trainer.storage.put_scalar(_KEY, len(self._names))

    def state_dict(self) -> dict:
        return {"names": self._names}

    def load_state_dict(self, state_dict: dict) -> None:
        self._names = [*state_dict["names"]]


def check_limit(count: int, limit: int, last: str) -> None:
    """Check that not too many images were left out.

    Args:
        limit: DATALOADER.MAX_SKIPPED.
        last: the error of one image.

    Raises:
        UserError: they are more than the limit.
    """
    if count > limit:
        raise UserError(
            f"{counted(count, 'image')} cannot be read, but DATALOADER.MAX_SKIPPED is {limit}; the "
            f"last one: {last}"
        )

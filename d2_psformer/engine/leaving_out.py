"""Images that an evaluation leaves out because they cannot be read: DATALOADER.ON_ERROR "skip"."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import MetadataCatalog
from ..d2.utils import comm
from ..data.class_metadata import has_classes
from ..data.reading import read_class_map, read_segment_ids
from ..utils.errors import CarriedError, UserError, sentence_of
from ..utils.wording import counted
from .loader_worker import CarryingMapper, RaisingLoader
from .skipping import check_limit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """Stands for the sample of an image that cannot be read."""

    file_name: str
    sentence: str


class LeavingOutMapper:
    """A mapper that gives :class:`LeftOut` for an image that cannot be read.

    It also reads the PNGs of the ground truth, as the evaluators do when the model has run: an
    image is in all figures or in none.

    Args:
        dataset_name: whose records it maps.
    """

    def __init__(self, mapper: Callable[[dict], dict], cfg: CfgNode, dataset_name: str):
        self._map = CarryingMapper(self._read)
        self._mapper, self._num_classes = mapper, 0
        if cfg.MODEL.POSTPROCESSING.SEMANTIC_ON and has_classes(dataset_name):
            classes = Classes.from_metadata(MetadataCatalog.get(dataset_name))
            self._num_classes = classes.num_classes

    def __call__(self, record: dict) -> dict | LeftOut:
        sample = self._map(record)
        if isinstance(sample, CarriedError):
            return LeftOut(record["file_name"], sentence_of(sample.error))
        return sample

    def _read(self, record: dict) -> dict:
        sample = self._mapper(record)
        if sample and "height" in sample and "width" in sample:  # users' mappers may not say
            size = sample["height"], sample["width"]
            if "pan_seg_file_name" in record:
                read_segment_ids(record, size)
            if self._num_classes and os.path.isfile(record.get("sem_seg_file_name", "")):
                read_class_map(record, size, self._num_classes)
        return sample


class LeavingOutLoader(RaisingLoader):
    """A loader for evaluation that leaves out what a :class:`LeavingOutMapper` cannot read.

    It logs each image. All processes must go to its end, where they count together.

    Args:
        dataset_name: for messages.
        limit: of images, DATALOADER.MAX_SKIPPED.

    Raises (in an iteration):
        UserError: more cannot be read, or none can.
    """

    def __init__(self, *args, dataset_name: str, limit: int, **options):
        super().__init__(*args, **options)
        self.dataset_name, self.limit = dataset_name, limit

    def __iter__(self) -> Iterator[list[dict]]:
        left_out: dict[str, str] = {}
        for batch in super().__iter__():
            for image in [sample for sample in batch if isinstance(sample, LeftOut)]:
                left_out[image.file_name] = image.sentence
                logger.warning("Left out of '%s': %s", self.dataset_name, image.sentence)
                check_limit(len(left_out), self.limit, image.sentence)
            if read := [sample for sample in batch if not isinstance(sample, LeftOut)]:
                yield read
        self._count_together(left_out)

    def _count_together(self, left_out: dict[str, str]) -> None:
        """Check and log the images of all processes, before there are figures."""
        every = {name: text for part in comm.all_gather(left_out) for name, text in part.items()}
        if not every:
            return
        last = [*every.values()][-1]
        check_limit(len(every), self.limit, last)
        if len(every) == len(self.dataset):
            raise UserError(f"No image of '{self.dataset_name}' can be read; the last one: {last}")
        others = every.keys() - left_out.keys() if comm.is_main_process() else ()
        for name in sorted(others):
            logger.warning("Left out of '%s': %s", self.dataset_name, every[name])
        logger.warning("%s of '%s' left out.", counted(len(every), "image"), self.dataset_name)

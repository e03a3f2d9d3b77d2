"""The ground truth of single images of a data set."""

from pathlib import Path

from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..evaluation.builder import ground_truth_kind
from ..utils.errors import UserError
from .data_sets import align_data_sets
from .result_segments import Segments, segments_of_record


class GroundTruth:
    """What is annotated in the images of the first data set of DATASETS.TEST.

    Args:
        cfg: of the model; its data sets are registered, and are numbered as its classes now.

    Raises:
        UserError: DATASETS.TEST is empty, or see :func:`align_data_sets`.
    """

    def __init__(self, cfg: CfgNode):
        if not cfg.DATASETS.TEST:
            raise UserError("DATASETS.TEST is empty: name a data set there, in data.yaml.")
        name = cfg.DATASETS.TEST[0]
        align_data_sets(cfg, (*cfg.DATASETS.TRAIN, name))
        self._kind = ground_truth_kind(MetadataCatalog.get(name))
        self._records = {Path(r["file_name"]).resolve(): r for r in DatasetCatalog.get(name)}

    @property
    def paths(self) -> list[str]:
        """Of all images."""
        return [str(path) for path in self._records]

    def of(self, path: Path, size: tuple[int, int]) -> Segments | None:
        """Of one image of (height, width); None where there is no annotation of it."""
        record = self._records.get(path.resolve())
        if record is None or self._kind is None:
            return None
        return segments_of_record(record, size, self._kind)

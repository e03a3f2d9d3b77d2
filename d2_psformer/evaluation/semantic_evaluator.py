"""Mean IoU of ``sem_seg`` against label PNGs, or labels derived from the panoptic annotation."""

import os

import numpy as np
from torch import Tensor

from ..classes import Classes, unique_names
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.evaluation import SemSegEvaluator
from ..data.panoptic_labels import semantic_from_panoptic
from ..data.panoptic_png import read_panoptic_png
from ..data.reading import IGNORED, read_class_map
from ..data.registration import register_records
from ..utils.errors import UserError
from ..utils.wording import counted


class SemanticEvaluator(SemSegEvaluator):
    """Detectron2's ``SemSegEvaluator`` over all classes, things and stuff, in contiguous order.

    The ground truth of panoptic data is derived where it has no label PNGs. Void pixels count
    nowhere. Result keys: ``mIoU``, ``fwIoU``, ``mACC``, ``pACC``, ``IoU-<class>``
    and ``ACC-<class>``, in percent; classes of the same name also have their category id there.

    Args:
        dataset_name: a registered data set in Detectron2's panoptic or semantic format.

    Raises (when it evaluates):
        UserError: a label image is missing, has a value of no class, or another size than its
            image.
    """

    def __init__(self, dataset_name: str):
        classes = Classes.from_metadata(MetadataCatalog.get(dataset_name))
        self._most_classes = classes.num_classes
        # No class can have this number, however many classes there are.
        ignore_label = classes.num_classes

        def load_labels(record: dict, dtype: type = int) -> np.ndarray:
            is_derived = not os.path.isfile(record.get("sem_seg_file_name", ""))
            if is_derived and "pan_seg_file_name" in record:
                ids = read_panoptic_png(record["pan_seg_file_name"])
                labels = semantic_from_panoptic(ids, record["segments_info"], ignore_label)
            else:
                labels = read_class_map(record, self._predicted_size, classes.num_classes)
                labels = np.where(labels == IGNORED, ignore_label, labels)
            if labels.shape != self._predicted_size:
                raise UserError(
                    f"The prediction of '{record['file_name']}' has (height, width) "
                    f"{self._predicted_size}, its ground truth {labels.shape}: predict at the "
                    "annotation's size."
                )
            return labels.astype(dtype)

        name = register_records(
            f"{dataset_name}_semantic_evaluation",
            # The parent gives the "file name" of the labels to its loading function as it is.
            [
                {"file_name": record["file_name"], "sem_seg_file_name": record}
                for record in DatasetCatalog.get(dataset_name)
            ],
            stuff_classes=unique_names(
                classes.names, (classes.category_ids.get(i) for i in range(classes.num_classes))
            ),
            ignore_label=ignore_label,
        )
        super().__init__(name, sem_seg_loading_fn=load_labels)
        # Detectron2 would add boundary IoU; the figures are the same on both backends.
        self._compute_boundary_iou = False

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Count the pixels of a batch; outputs have ``sem_seg`` (K, H, W)."""
        for sample, output in zip(inputs, outputs, strict=True):
            scores = output["sem_seg"]
            _check_scores(scores, self._most_classes, sample["file_name"])
            self._predicted_size = tuple(scores.shape[-2:])
            super().process([sample], [output])

    def evaluate(self) -> dict | None:
        """The figures; those of no class at all are NaN, without NumPy's warnings."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return super().evaluate()

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[dict]:
        """No dump of predictions: it would hold every mask of the data set in memory."""
        return []


def _check_scores(scores: Tensor, num_classes: int, path: str) -> None:
    is_map = scores.ndim == 3 and 0 < len(scores) <= num_classes
    if not is_map or scores.isnan().any():
        raise UserError(
            f"The 'sem_seg' of '{path}' has shape {tuple(scores.shape)}{' and NaN' * is_map}: "
            f"predict the scores of {counted(num_classes, 'class')}, (classes, H, W)."
        )

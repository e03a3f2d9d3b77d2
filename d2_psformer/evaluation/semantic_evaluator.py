"""Mean IoU of ``sem_seg`` against labels derived from the panoptic annotation."""

import numpy as np

from ..classes import Classes, unique_names
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.evaluation import SemSegEvaluator
from ..data.panoptic_labels import semantic_from_panoptic
from ..data.panoptic_png import read_panoptic_png
from ..data.registration import register_records


class SemanticFromPanopticEvaluator(SemSegEvaluator):
    """Detectron2's ``SemSegEvaluator`` over all classes, things and stuff, in contiguous order.

    Void pixels count nowhere. Result keys: ``mIoU``, ``fwIoU``, ``mACC``, ``pACC``, ``IoU-<class>``
    and ``ACC-<class>``, in percent; classes of the same name also have their category id there.

    Args:
        dataset_name: a registered data set in Detectron2's panoptic format.
    """

    def __init__(self, dataset_name: str):
        classes = Classes.from_metadata(MetadataCatalog.get(dataset_name))
        # No class can have this number, however many classes there are.
        ignore_label = classes.num_classes

        def load_labels(record: dict, dtype: type = int) -> np.ndarray:
            ids = read_panoptic_png(record["pan_seg_file_name"])
            labels = semantic_from_panoptic(ids, record["segments_info"], ignore_label)
            return labels.astype(dtype)

        name = register_records(
            f"{dataset_name}_semantic_from_panoptic",
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

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[dict]:
        """No dump of predictions: it would hold every mask of the data set in memory."""
        return []

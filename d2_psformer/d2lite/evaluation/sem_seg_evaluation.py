"""Mean intersection over union and pixel accuracy."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from ..data import DatasetCatalog, MetadataCatalog
from ..errors import UserError
from ..utils import comm
from ..utils.file_io import PathManager
from .evaluator import DatasetEvaluator

logger = logging.getLogger(__name__)


def load_image_into_numpy_array(filename: str, dtype: Any = None) -> np.ndarray:
    """Label image (H,W) as stored, in the given dtype."""
    with PathManager.open(filename, "rb") as file:
        return np.array(Image.open(file), dtype=dtype)


class SemSegEvaluator(DatasetEvaluator):
    """Evaluates ``sem_seg`` outputs (K,H,W) against label images, from one confusion matrix.

    Args:
        dataset_name: its dicts have ``sem_seg_file_name``; its metadata ``stuff_classes`` (all K
            names) and ``ignore_label``.
        distributed: add up the counts of all processes.
        sem_seg_loading_fn: (file name, dtype=) -> label image (H,W).
    """

    def __init__(
        self,
        dataset_name: str,
        distributed: bool = True,
        *,
        sem_seg_loading_fn: Callable[..., np.ndarray] = load_image_into_numpy_array,
    ):
        metadata = MetadataCatalog.get(dataset_name)
        self._distributed = distributed
        self._load = sem_seg_loading_fn
        self._class_names = metadata.stuff_classes
        self._ignore_label = metadata.ignore_label
        self.input_file_to_gt_file = {
            record["file_name"]: record["sem_seg_file_name"]
            for record in DatasetCatalog.get(dataset_name)
        }
        self.reset()

    def reset(self) -> None:
        # Rows are predictions, columns ground truth; the last column counts ignored pixels.
        size = len(self._class_names) + 1
        self._conf_matrix = np.zeros((size, size), dtype=np.int64)

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        size = len(self._conf_matrix)
        for model_input, output in zip(inputs, outputs, strict=True):
            name = model_input["file_name"]
            predicted = output["sem_seg"].argmax(dim=0).cpu().numpy()
            gt = self._load(self.input_file_to_gt_file[name], dtype=int)
            if gt.shape != predicted.shape:
                raise UserError(
                    f"The labels of '{name}' have shape {gt.shape}, its result {predicted.shape}."
                )
            ignored = gt == self._ignore_label
            largest = gt.max(where=~ignored, initial=0)
            if largest >= size - 1:
                raise UserError(
                    f"The labels of '{name}' have class {largest}, but there are only "
                    f"{size - 1} classes: check its label image and the metadata."
                )
            gt = np.where(ignored, size - 1, gt)
            pairs = np.bincount(size * predicted.ravel() + gt.ravel(), minlength=size**2)
            self._conf_matrix += pairs.reshape(size, size)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """Returns ``{"sem_seg": {...}}`` in percent: mIoU, fwIoU, mACC, pACC, and IoU-<class> and
        ACC-<class>, NaN for classes that are not in the ground truth; None if not the main
        process."""
        if self._distributed:
            comm.synchronize()
            self._conf_matrix = sum(comm.all_gather(self._conf_matrix))
            if not comm.is_main_process():
                return None
        results = self._metrics(self._conf_matrix[:-1, :-1].astype(float))
        main = {name: value for name, value in results.items() if "-" not in name}
        logger.info("Semantic segmentation: %s", main)
        return {"sem_seg": results}

    def _metrics(self, confusion: np.ndarray) -> dict[str, float]:
        correct, in_gt, in_prediction = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):  # Classes not in the ground truth.
            accuracy = correct / in_gt
            iou = np.where(in_gt > 0, correct / (in_gt + in_prediction - correct), np.nan)
            frequency = in_gt / in_gt.sum()
            percent = {
                "mIoU": np.sum(iou[in_gt > 0]) / np.count_nonzero(in_gt),
                "fwIoU": np.nansum(iou * frequency),
                **{f"IoU-{name}": iou[i] for i, name in enumerate(self._class_names)},
                "mACC": np.sum(accuracy[in_gt > 0]) / np.count_nonzero(in_gt),
                "pACC": correct.sum() / in_gt.sum(),
                **{f"ACC-{name}": accuracy[i] for i, name in enumerate(self._class_names)},
            }
        return {name: 100 * float(value) for name, value in percent.items()}

"""Average precision of boxes and masks, as COCO defines it."""

import contextlib
import io
import itertools
import json
import logging
import os
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..data import MetadataCatalog
from ..errors import UserError
from ..structures import BoxMode, Instances
from ..utils import comm
from ..utils.file_io import PathManager
from .evaluator import DatasetEvaluator

logger = logging.getLogger(__name__)

_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class COCOEvaluator(DatasetEvaluator):
    """Evaluates ``instances`` outputs with pycocotools.

    Args:
        dataset_name: its metadata has ``json_file``, a file in COCO's instance format.
        tasks: of "bbox" and "segm"; by default "bbox", and "segm" if there are masks.
        distributed: gather the predictions of all processes in the first.
        output_dir: folder for ``coco_instances_results.json``; None writes nothing.

    Raises:
        UserError: the data set has no ``json_file``.
    """

    def __init__(
        self,
        dataset_name: str,
        tasks: tuple[str, ...] | None = None,
        distributed: bool = True,
        output_dir: str | None = None,
    ):
        self._metadata = MetadataCatalog.get(dataset_name)
        self._tasks = tasks
        self._distributed = distributed
        self._output_dir = output_dir
        json_file = self._metadata.get("json_file")
        if json_file is None:
            raise UserError(
                f"Data set '{dataset_name}' has no metadata 'json_file': box and mask AP need "
                "ground truth in COCO's instance format."
            )
        with contextlib.redirect_stdout(io.StringIO()):
            self._coco_api = COCO(PathManager.get_local_path(json_file))
        self.reset()

    def reset(self) -> None:
        self._predictions: list[dict[str, Any]] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for model_input, output in zip(inputs, outputs, strict=True):
            if "instances" in output:
                instances = output["instances"].to("cpu")
                self._predictions += instances_to_coco_json(instances, model_input["image_id"])

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Returns ``{task: {...}}`` in percent: AP, AP50, AP75, APs, APm, APl and AP-<class>; NaN
        where there is nothing to measure. {} if not the main process, or if the ground truth has
        no annotations."""
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            predictions = list(itertools.chain(*comm.gather(predictions, dst=0)))
            if not comm.is_main_process():
                return {}
        predictions = self._with_dataset_categories(predictions)
        if self._output_dir:
            self._save(predictions)
        if "annotations" not in self._coco_api.dataset:
            logger.info("The ground truth has no annotations: nothing to evaluate.")
            return {}
        has_masks = any("segmentation" in prediction for prediction in predictions)
        tasks = self._tasks or (("bbox", "segm") if has_masks else ("bbox",))
        return {task: self._evaluate_task(task, predictions) for task in sorted(tasks)}

    def _with_dataset_categories(self, predictions: list[dict]) -> list[dict]:
        ids = self._metadata.get("thing_dataset_id_to_contiguous_id")
        if ids is None:
            return predictions
        dataset_ids = {contiguous: dataset_id for dataset_id, contiguous in ids.items()}
        for prediction in predictions:
            assert prediction["category_id"] in dataset_ids, (
                f"A prediction for image {prediction['image_id']} has class "
                f"{prediction['category_id']}, but the things of the data set are "
                f"{sorted(dataset_ids)}."
            )
        return [{**p, "category_id": dataset_ids[p["category_id"]]} for p in predictions]

    def _save(self, predictions: list[dict[str, Any]]) -> None:
        PathManager.mkdirs(self._output_dir)
        path = os.path.join(self._output_dir, "coco_instances_results.json")
        with PathManager.open(path, "w") as file:
            json.dump(predictions, file)
        logger.info("Predictions are in %s.", path)

    def _evaluate_task(self, task: str, predictions: list[dict[str, Any]]) -> dict[str, float]:
        if not predictions:
            logger.warning("There are no predictions to evaluate for '%s'.", task)
            return dict.fromkeys(_METRICS, float("nan"))
        if task == "segm":
            # With a box, COCO's sizes (small, medium, large) would be areas of boxes.
            predictions = [{k: v for k, v in p.items() if k != "bbox"} for p in predictions]
        with contextlib.redirect_stdout(io.StringIO()) as summary:
            evaluation = COCOeval(self._coco_api, self._coco_api.loadRes(predictions), task)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        logger.info("COCO's evaluation of '%s':\n%s", task, summary.getvalue())
        results = {name: _percent(evaluation.stats[i]) for i, name in enumerate(_METRICS)}
        return results | self._class_results(evaluation)

    def _class_results(self, evaluation: COCOeval) -> dict[str, float]:
        """AP-<class> for each category of the ground truth, unless there is only one.

        As in Detectron2, names are those of the metadata, in the order of the category ids.
        """
        categories = self._coco_api.loadCats(evaluation.params.catIds)
        names = self._metadata.get("thing_classes", [category["name"] for category in categories])
        if len(names) == 1:
            return {}
        # (IoU thresholds, recalls, classes, areas, detections): all areas, most detections.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        return {
            f"AP-{name}": _percent(np.mean(values) if values.size else -1)
            for i, name in enumerate(names)
            for values in [precision[:, :, i][precision[:, :, i] > -1]]
        }


def _percent(value: float) -> float:
    """COCO's -1 means that there is nothing to measure."""
    return 100 * float(value) if value >= 0 else float("nan")


def instances_to_coco_json(instances: Instances, img_id: int) -> list[dict[str, Any]]:
    """Predictions of one image in COCO's result format, with contiguous category ids.

    Args:
        instances: on the CPU, with ``pred_boxes``, ``scores``, ``pred_classes`` and, if there are
            masks, ``pred_masks`` bool (N,H,W).
    """
    if len(instances) == 0:
        return []
    boxes = BoxMode.convert(instances.pred_boxes.tensor, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    columns = boxes.tolist(), instances.scores.tolist(), instances.pred_classes.tolist()
    results = [
        {"image_id": img_id, "category_id": category, "bbox": box, "score": score}
        for box, score, category in zip(*columns, strict=True)
    ]
    if instances.has("pred_masks"):
        for result, mask in zip(results, instances.pred_masks, strict=True):
            code = mask_util.encode(np.asfortranarray(mask.numpy(), dtype=np.uint8))
            result["segmentation"] = {**code, "counts": code["counts"].decode()}
    return results

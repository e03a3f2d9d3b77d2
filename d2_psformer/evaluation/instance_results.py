"""COCO's result files for instances."""

import itertools
import logging
import os

from ..classes import Classes
from ..d2.evaluation import DatasetEvaluator, instances_to_coco_json
from ..d2.utils import comm
from ..utils.files import write_json

logger = logging.getLogger(__name__)


class InstanceResultsWriter(DatasetEvaluator):
    """Writes predicted things instead of judging them, for data without ground truth.

    In ``output_dir`` it leaves ``coco_instances_results.json``, a list with ``image_id``,
    ``category_id``, ``bbox``, ``score`` and ``segmentation`` (RLE), under Detectron2's name.

    Args:
        output_dir: made if it is missing.
        classes: those of the predictions.
    """

    def __init__(self, output_dir: str, classes: Classes):
        self._category_ids = {i: classes.category_ids[i] for i in classes.thing_ids}
        self._path = os.path.join(output_dir, "coco_instances_results.json")
        self.reset()

    def reset(self) -> None:
        self._results: list[dict] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keep the things of ``outputs[i]["instances"]`` with the ids of the data set."""
        for sample, output in zip(inputs, outputs, strict=True):
            for result in instances_to_coco_json(output["instances"].to("cpu"), sample["image_id"]):
                category_id = self._category_ids.get(result["category_id"])
                if category_id is not None:
                    self._results.append({**result, "category_id": category_id})

    def evaluate(self) -> dict:
        """Write the file in the main process; there are no figures."""
        comm.synchronize()
        parts = comm.gather(self._results)
        if comm.is_main_process():
            write_json(self._path, [*itertools.chain(*parts)])
            logger.info("The predicted instances are in %s", self._path)
        return {}

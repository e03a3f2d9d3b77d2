"""Going over a data set with a model for a report."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from ..data import register_from_config
from ..engine import Predictor
from ..engine.data_loader import build_test_loader
from ..engine.data_sets import align_data_sets, check_registered
from ..engine.result_segments import segments_of_record, segments_of_results
from ..evaluation import build_evaluator
from ..evaluation.builder import ground_truth_kind
from ..utils.errors import UserError
from .statistics import Statistics

# By the kind of ground truth: the result that is evaluated.
SWITCHES = {"panoptic": "PANOPTIC_ON", "semantic": "SEMANTIC_ON", "instance": "INSTANCE_ON"}


@dataclass(frozen=True)
class Evaluation:
    """A model and its figures on the first data set of DATASETS.TEST.

    Attributes:
        cfg: as the user wrote it.
        results: ``{task: {figure: percent}}`` of the evaluator.
        seconds: (N,), of the model alone for each image: no reading, no evaluation.
    """

    cfg: CfgNode
    predictor: Predictor
    dataset: str
    results: dict[str, dict[str, float]]
    statistics: Statistics
    seconds: np.ndarray


def evaluate_run(cfg: CfgNode, dataset: str | None = None) -> Evaluation:
    """Run the model of a config over a data set.

    Args:
        cfg: not frozen; MODEL.WEIGHTS is "model_final.pth" in OUTPUT_DIR if it is empty.
        dataset: default the first of DATASETS.TEST.

    Raises:
        UserError: there is no data set with ground truth, or see :class:`Predictor`.
    """
    register_from_config(cfg)
    if not cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = f"{cfg.OUTPUT_DIR}/model_final.pth"
    cfg, given = cfg.clone(), cfg
    cfg.DATASETS.TEST = (dataset,) if dataset else cfg.DATASETS.TEST[:1]
    kind = _only_kind(cfg)
    name = cfg.DATASETS.TEST[0]
    predictor = Predictor(cfg)
    align_data_sets(cfg)
    collector = _Collector(Statistics(Classes.from_metadata(predictor.metadata), kind), predictor)
    timed = _Timed(predictor)
    evaluators = DatasetEvaluators([build_evaluator(cfg, name), collector])
    results = inference_on_dataset(timed, build_test_loader(cfg, name), evaluators)
    seconds = np.array(timed.seconds)
    return Evaluation(given, predictor, name, results, collector.statistics, seconds)


def _only_kind(cfg: CfgNode) -> str:
    """The kind of the ground truth; the results that fit it alone are switched on."""
    names = cfg.DATASETS.TEST
    if names:
        check_registered(names[0])
    kind = ground_truth_kind(MetadataCatalog.get(names[0])) if names else None
    if kind is None:
        raise UserError("DATASETS.TEST must begin with a data set that has ground truth.")
    for other, switch in SWITCHES.items():
        cfg.MODEL.POSTPROCESSING[switch] = other == kind
    if cfg.MODEL.AUTOCAST == "auto":  # figures compare only at the precision of an evaluation
        cfg.MODEL.AUTOCAST = "float32"
    return kind


class _Collector(DatasetEvaluator):
    """Counts what :class:`.Statistics` has; it gives no results of its own."""

    def __init__(self, statistics: Statistics, predictor: Predictor):
        self.statistics = statistics
        self._metadata = predictor.metadata

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        for sample, output in zip(inputs, outputs, strict=True):
            size = sample["height"], sample["width"]
            truth = segments_of_record(sample, size, self.statistics.kind)
            predicted = segments_of_results(output, self._metadata)
            self.statistics.add(sample["file_name"], truth, predicted)


class _Timed:
    """A model that keeps the seconds of every batch, which here is an image."""

    def __init__(self, predictor: Predictor):
        self.seconds: list[float] = []
        self._model = predictor.model
        self._is_cuda = predictor.model.device.type == "cuda"

    def __call__(self, batch: list[dict]) -> list[dict]:
        start = self._now()
        outputs = self._model(batch)
        self.seconds.append(self._now() - start)
        return outputs

    def _now(self) -> float:
        if self._is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

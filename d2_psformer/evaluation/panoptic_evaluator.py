"""Panoptic quality as a Detectron2 evaluator: no temporary files, counts instead of pictures."""

import functools
import logging
import operator
import os
from collections import OrderedDict, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ..classes import Classes, unique_names
from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..data.class_alignment import align_categories
from ..data.coco_panoptic import PanopticFiles
from ..data.panoptic_json import is_integer
from ..utils.errors import UserError
from ..utils.wording import counted
from .pq_counter import COCO_SIZE_BOUNDS, SIZES, PanopticQuality
from .pq_segments import integer_id
from .pq_tables import per_class_table, summary_table

logger = logging.getLogger(__name__)

# Endings of the result keys, as COCOPanopticEvaluator has them.
SPLIT_SUFFIXES = {"All": "", "Things": "_th", "Stuff": "_st"}
MAX_READERS = 4
MAX_WAITING = 16  # predictions kept until their ground truth is read


class PanopticQualityEvaluator(DatasetEvaluator):
    """Counts each image as it comes; processes share a few numbers per class at the end.

    An image with several annotations counts once for each; predicting it again changes nothing.
    Threads read the ground truth while the model is at its next image, so a fault in it may be
    reported some images later. Images are counted in their order: figures do not depend on threads.

    The ground truth is the data set's ``panoptic_json`` and ``panoptic_root``. Model outputs are
    ``{"panoptic_seg": (ids (H, W), segments_info)}`` with contiguous category ids; they are read
    only.

    Args:
        dataset_name: a registered data set.
        size_bounds: the least area in pixels of a medium and of a large segment.

    Raises:
        UserError: the data set's classes are not those of its ``panoptic_json``, by their names.
    """

    def __init__(self, dataset_name: str, size_bounds: tuple[int, int] = COCO_SIZE_BOUNDS):
        metadata = MetadataCatalog.get(dataset_name)
        self._dataset_name = dataset_name
        self._ground_truth = PanopticFiles(metadata.panoptic_json, metadata.panoptic_root)
        self._category_ids = _ids_in_file(self._ground_truth, dataset_name)
        self._size_bounds = size_bounds
        self.reset()

    def reset(self) -> None:
        self._quality = PanopticQuality(self._ground_truth.categories, self._size_bounds)
        self._predicted: set[str] = set()
        self._waiting: deque[tuple] = deque()
        self._readers = ThreadPoolExecutor(min(MAX_READERS, os.cpu_count() or 1))

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Count a batch; ``inputs`` are dataset dicts with ``image_id``."""
        for sample, output in zip(inputs, outputs, strict=True):
            image_id = sample["image_id"]
            if str(image_id) in self._predicted:  # loaders may give a record per annotation
                continue
            self._predicted.add(str(image_id))
            pred_map, segments = output["panoptic_seg"]
            segments = with_dataset_ids(segments, self._category_ids, image_id)
            truth = self._readers.submit(self._ground_truth.read, image_id)
            self._waiting.append((image_id, truth, pred_map.cpu().numpy(), segments))
            if len(self._waiting) > MAX_WAITING:
                self._count_first()

    def _count_first(self) -> None:
        image_id, truths, *prediction = self._waiting.popleft()
        for truth in truths.result():
            where = f"{image_id} of '{self._ground_truth.json_file}'"
            self._quality.add(where, *truth, *prediction)

    def evaluate(self) -> OrderedDict | None:
        """The results over all processes, in percent; None where it is not the main one.

        Returns:
            ``{"panoptic_seg": {...}}`` with PQ, SQ, RQ, the same with ``_th`` and ``_st``, PQ of
            each of these ``_small``, ``_medium``, ``_large``, and ``PQ-<class>``. NaN where a
            split has no class that occurs.
        """
        while self._waiting:
            self._count_first()
        self._readers.shutdown()
        comm.synchronize()
        parts = comm.gather(self._quality)
        if not comm.is_main_process():
            return None
        quality = functools.reduce(operator.add, parts)
        expected = len(self._ground_truth.content["annotations"])
        if quality.num_images != expected:
            logger.warning(
                "Panoptic quality of '%s' is over %s, its ground truth has %d.",
                self._dataset_name,
                counted(quality.num_images, "annotation"),
                expected,
            )
        results = quality.results()
        tables = per_class_table(results), summary_table(results)
        logger.info("Panoptic quality on '%s':\n%s\n\n%s", self._dataset_name, *tables)
        return OrderedDict(panoptic_seg=flat_results(results))


def _ids_in_file(truth: PanopticFiles, dataset_name: str) -> dict[int, int | str]:
    """The file's category ids of the data set's contiguous ids."""
    classes = Classes.from_metadata(MetadataCatalog.get(dataset_name))
    owners = f"'{truth.json_file}'", f"data set '{dataset_name}'"
    aligned = align_categories(truth.categories, classes.categories(), *owners)
    return {i: c["id"] for i, c in zip(sorted(classes.category_ids), aligned, strict=True)}


def with_dataset_ids(segments_info: list[dict], ids: Mapping[int, int | str], image_id) -> list:
    """New ``{id, category_id}`` dicts in the data set's ids; the model's own are left as they are.

    Args:
        segments_info: of a model, with contiguous category ids.
        ids: contiguous id -> the data set's category id.

    Raises:
        UserError: a segment's id is no integer, or the data set does not have its class.
    """
    converted = []
    for segment in segments_info:
        segment_id, contiguous = integer_id(segment, image_id), segment.get("category_id")
        category_id = ids.get(contiguous) if is_integer(contiguous) else None
        if category_id is None:
            raise UserError(
                f"Image {image_id}: predicted segment {segment_id} has class {contiguous!r}, which "
                f"the data set lacks (it has {counted(len(ids), 'class')}): evaluate on a data set "
                "with the classes that the model was trained for."
            )
        converted.append({"id": segment_id, "category_id": category_id})
    return converted


def flat_results(results: dict) -> dict[str, float]:
    """``PanopticQuality.results()`` in percent under the keys of COCOPanopticEvaluator.

    Of classes of the same name the key also has the category id: ``PQ-cat (7)``.
    """
    flat = {
        f"{key.upper()}{suffix}": 100 * results[split][key]
        for split, suffix in SPLIT_SUFFIXES.items()
        for key in ("pq", "sq", "rq")
    }
    for split, suffix in SPLIT_SUFFIXES.items():
        for size in SIZES:
            flat[f"PQ{suffix}_{size}"] = 100 * results["by_size"][size][split]["pq"]
    rows = results["per_class"]
    names = unique_names([row["name"] for row in rows.values()], rows)
    for name, row in zip(names, rows.values(), strict=True):
        flat[f"PQ-{name}"] = 100 * row["pq"]
    return flat

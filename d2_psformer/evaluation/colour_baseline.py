"""A lower bound for panoptic models: each pixel gets the class of the nearest mean colour.

Its panoptic quality shows how much of a data set can be recognised by colour alone.
"""

import itertools
from collections.abc import Collection, Iterable

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ..classes import Classes
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..data.reading import read_image, read_segment_ids
from ..utils.errors import UserError
from .panoptic_evaluator import PanopticQualityEvaluator


class ColourBaseline:
    """Mean colours of classes, learnt from annotated images.

    Args:
        thing_ids: the category ids that are things; all others are stuff.
    """

    def __init__(self, thing_ids: Collection[int]):
        self.thing_ids = frozenset(thing_ids)
        self._sums: dict[int, np.ndarray] = {}  # category id -> sums of R, G, B, and of pixels

    def add(self, image: np.ndarray, ids: np.ndarray, segments_info: Iterable[dict]) -> None:
        """Learn from one image, uint8 (H, W, 3), and its segment ids (H, W); crowds count too."""
        for segment in segments_info:
            pixels = image[ids == segment["id"]]
            known = self._sums.setdefault(segment["category_id"], np.zeros(4))
            known += [*pixels.sum(axis=0, dtype=np.float64), len(pixels)]

    def mean_colours(self) -> tuple[list[int], np.ndarray]:
        """Category ids and their mean colours (K, 3).

        Raises:
            UserError: nothing has been learnt.
        """
        seen = {c: sums for c, sums in sorted(self._sums.items()) if sums[3] > 0}
        if not seen:
            raise UserError("The colour baseline has seen no segment: add annotated images first.")
        sums = np.stack(list(seen.values()))
        return list(seen), sums[:, :3] / sums[:, 3:]

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, list[dict]]:
        """Label every pixel; things are the connected regions (8 neighbours) of their class.

        Args:
            image: uint8 (H, W, 3), channels as in training.

        Returns:
            ids: int32 (H, W), from 1 on.
            segments_info: ``id``, ``category_id``, ``isthing`` and ``area`` of each segment.
        """
        categories, colours = self.mean_colours()
        # |x - m|^2 without the term that is the same for all means.
        distance = (colours**2).sum(axis=1) - 2 * (image.astype(np.float64) @ colours.T)
        nearest = distance.argmin(axis=2)
        ids, segments_info = np.zeros(nearest.shape, np.int32), []
        for k, category_id in enumerate(categories):
            regions = (nearest == k).astype(np.int32)
            isthing = category_id in self.thing_ids
            if isthing:
                _, regions = cv2.connectedComponents(regions.astype(np.uint8), connectivity=8)
            first = len(segments_info)
            areas = np.bincount(regions.ravel())[1:]
            ids += np.where(regions > 0, regions + first, 0)
            segments_info += [
                {"id": first + i, "category_id": category_id, "isthing": isthing, "area": int(area)}
                for i, area in enumerate(areas, start=1)
            ]
        return ids, segments_info


def evaluate_colour_baseline(
    train_dataset: str, test_dataset: str, max_train_images: int = 500
) -> dict:
    """Learn from one registered data set, predict another: PanopticQualityEvaluator's results."""
    baseline = ColourBaseline(Classes.from_metadata(MetadataCatalog.get(train_dataset)).thing_ids)
    records = DatasetCatalog.get(train_dataset)
    for record in itertools.islice(records, max_train_images):
        image = read_image(record, "RGB")
        ids = read_segment_ids(record, image.shape[:2])
        baseline.add(image, ids, record["segments_info"])

    evaluator = PanopticQualityEvaluator(test_dataset)
    for record in tqdm(DatasetCatalog.get(test_dataset), desc="colour baseline", disable=None):
        ids, segments_info = baseline.predict(read_image(record, "RGB"))
        evaluator.process([record], [{"panoptic_seg": (torch.from_numpy(ids), segments_info)}])
    return evaluator.evaluate()

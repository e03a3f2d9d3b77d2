"""Registered data sets as one list."""

import itertools
import logging

from ...utils.wording import counted
from ..errors import UserError
from .catalog import DatasetCatalog, MetadataCatalog

logger = logging.getLogger(__name__)


def get_detection_dataset_dicts(
    names: str | list[str], filter_empty: bool = True, check_consistency: bool = True
) -> list[dict]:
    """Load registered data sets as one list.

    Args:
        names: one or several registered names.
        filter_empty: leave out images without usable instance annotations.
        check_consistency: require the same ``thing_classes`` of all data sets with instances.

    Raises:
        UnknownKeyError: a name is not registered.
        UserError: the data sets have different classes, one is empty, or nothing is left.
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise UserError("No data set is named: set DATASETS.TRAIN or DATASETS.TEST.")
    loaded = [DatasetCatalog.get(name) for name in names]
    for name, dicts in zip(names, loaded, strict=True):
        if not dicts:
            raise UserError(f"Data set '{name}' is empty.")

    dataset_dicts = list(itertools.chain.from_iterable(loaded))
    if "annotations" in dataset_dicts[0]:
        if filter_empty:
            dataset_dicts = _with_objects(dataset_dicts)
        classes = {name: MetadataCatalog.get(name).get("thing_classes") for name in names}
        if check_consistency and any(value != classes[names[0]] for value in classes.values()):
            raise UserError(f"These data sets have different 'thing_classes': {classes}.")
    if not dataset_dicts:
        raise UserError(f"No image of {', '.join(names)} has usable annotations.")
    return dataset_dicts


def _with_objects(dataset_dicts: list[dict]) -> list[dict]:
    """The images that have at least one annotation of a single object."""
    usable = [d for d in dataset_dicts if any(not a.get("iscrowd", 0) for a in d["annotations"])]
    images = counted(len(dataset_dicts), "image")
    logger.info("With usable annotations: %d of %s.", len(usable), images)
    return usable

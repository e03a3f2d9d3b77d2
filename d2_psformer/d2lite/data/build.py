"""Registered data sets as one list, and the loader for evaluation."""

import itertools
import logging
from collections.abc import Callable
from typing import Any

from torch.utils import data

from ..config import configurable
from ..errors import UserError
from .catalog import DatasetCatalog, MetadataCatalog
from .common import DatasetFromList, MapDataset
from .dataset_mapper import DatasetMapper
from .samplers import InferenceSampler

logger = logging.getLogger(__name__)

Mapper = Callable[[dict], Any]


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
    logger.info("%d of %d images have usable annotations.", len(usable), len(dataset_dicts))
    return usable


def _test_loader_from_config(cfg, dataset_name: str | list[str], mapper=None) -> dict[str, Any]:
    return {
        "dataset": get_detection_dataset_dicts(dataset_name, filter_empty=False),
        "mapper": DatasetMapper(cfg, False) if mapper is None else mapper,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_test_loader_from_config)
def build_detection_test_loader(
    dataset: list[dict] | data.Dataset,
    *,
    mapper: Mapper | None,
    sampler: data.Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
) -> data.DataLoader:
    """A loader of every sample once; also ``build_detection_test_loader(cfg, name)``.

    Args:
        mapper: turns a dataset dict into the model's input; None leaves the dicts as they are.
        sampler: the default is an :class:`InferenceSampler`.
        batch_size: images of one process in one batch.
        collate_fn: the default makes lists, as images of different sizes cannot be stacked.
    """
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset)
    if mapper is not None:
        dataset = MapDataset(dataset, mapper)
    return data.DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=InferenceSampler(len(dataset)) if sampler is None else sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or _as_list,
    )


def _as_list(batch: list) -> list:
    return batch

"""Data loaders for training and evaluation, from a config or from arguments."""

import itertools
import logging
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils import data

from ..config import configurable
from ..utils.comm import get_world_size
from ..utils.env import seed_all_rng
from .catalog import DatasetCatalog, MetadataCatalog
from .common import AspectRatioGroupedDataset, DatasetFromList, MapDataset, ToIterableDataset
from .dataset_mapper import DatasetMapper
from .detection_utils import check_metadata_consistency
from .samplers import InferenceSampler, TrainingSampler

logger = logging.getLogger(__name__)

Mapper = Callable[[dict], Any]


def filter_images_with_only_crowd_annotations(dataset_dicts: list[dict]) -> list[dict]:
    """The images that have at least one annotation of a single object."""
    usable = [d for d in dataset_dicts if any(not a.get("iscrowd", 0) for a in d["annotations"])]
    logger.info("%d of %d images have usable annotations.", len(usable), len(dataset_dicts))
    return usable


def get_detection_dataset_dicts(
    names: str | list[str], filter_empty: bool = True, check_consistency: bool = True
) -> list[dict]:
    """Load registered data sets as one list.

    Args:
        names: one or several registered names.
        filter_empty: leave out images without usable instance annotations.
        check_consistency: require the same ``thing_classes`` of all data sets with instances.

    Raises:
        KeyError: a name is not registered.
        ValueError: the data sets have different classes.
        AssertionError: a data set is empty, or nothing is left of it.
    """
    names = [names] if isinstance(names, str) else list(names)
    assert names, "No data set is named: set DATASETS.TRAIN or DATASETS.TEST."
    loaded = [DatasetCatalog.get(name) for name in names]
    for name, dicts in zip(names, loaded, strict=True):
        assert len(dicts), f"Data set '{name}' is empty."

    dataset_dicts = list(itertools.chain.from_iterable(loaded))
    if "annotations" in dataset_dicts[0]:
        if filter_empty:
            dataset_dicts = filter_images_with_only_crowd_annotations(dataset_dicts)
        if check_consistency and MetadataCatalog.get(names[0]).get("thing_classes"):
            check_metadata_consistency("thing_classes", names)
    assert dataset_dicts, f"No image of {', '.join(names)} has usable annotations."
    return dataset_dicts


def build_batch_data_loader(
    dataset: data.Dataset,
    sampler: data.Sampler,
    total_batch_size: int,
    *,
    aspect_ratio_grouping: bool = False,
    drop_last: bool = True,
    collate_fn: Callable[[list], Any] | None = None,
    **kwargs: Any,
) -> Iterable[list]:
    """A loader whose batches are lists of samples.

    Args:
        dataset: map-style.
        total_batch_size: images over all processes together.
        aspect_ratio_grouping: see :class:`AspectRatioGroupedDataset`; takes no ``collate_fn``.
        drop_last: leave out the last batch if it is not full.
        kwargs: further arguments of :class:`torch.utils.data.DataLoader`, e.g. ``num_workers``.
    """
    world_size = get_world_size()
    assert total_batch_size > 0 and total_batch_size % world_size == 0, (
        f"Batch size {total_batch_size} cannot be divided among {world_size} processes."
    )
    batch_size = total_batch_size // world_size
    samples = ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size)
    kwargs["worker_init_fn"] = worker_init_reset_seed
    if aspect_ratio_grouping:
        assert drop_last, "Grouping by aspect ratio leaves incomplete batches out."
        assert collate_fn is None, "Grouping by aspect ratio makes lists: drop the collate_fn."
        single = data.DataLoader(samples, collate_fn=operator.itemgetter(0), **kwargs)
        return AspectRatioGroupedDataset(single, batch_size)
    collate_fn = collate_fn or trivial_batch_collator
    return data.DataLoader(
        samples, batch_size=batch_size, drop_last=drop_last, collate_fn=collate_fn, **kwargs
    )


def _train_loader_from_config(cfg, mapper=None, *, dataset=None, sampler=None) -> dict[str, Any]:
    if dataset is None:
        dataset = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        )
    if sampler is None:
        if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
            raise ValueError(
                f"DATALOADER.SAMPLER_TRAIN is '{cfg.DATALOADER.SAMPLER_TRAIN}': "
                "without Detectron2 only 'TrainingSampler' is there."
            )
        sampler = TrainingSampler(len(dataset), seed=cfg.SEED)
    return {
        "dataset": dataset,
        "sampler": sampler,
        "mapper": DatasetMapper(cfg, True) if mapper is None else mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_train_loader_from_config)
def build_detection_train_loader(
    dataset: list[dict] | data.Dataset,
    *,
    mapper: Mapper | None,
    sampler: data.Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    **kwargs: Any,
) -> Iterable[list]:
    """An endless loader of batches of mapped samples; also ``build_detection_train_loader(cfg)``.

    Args:
        mapper: dataset dict -> model input; None passes the dicts on.
        sampler: the default is a :class:`TrainingSampler`.
        kwargs: as for :func:`build_batch_data_loader`.
    """
    dataset = _mapped(dataset, mapper)
    sampler = TrainingSampler(len(dataset)) if sampler is None else sampler
    return build_batch_data_loader(
        dataset, sampler, total_batch_size, aspect_ratio_grouping=aspect_ratio_grouping, **kwargs
    )


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
        sampler: the default is an :class:`InferenceSampler`.
        batch_size: images a process sees at a time.
    """
    dataset = _mapped(dataset, mapper)
    return data.DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=InferenceSampler(len(dataset)) if sampler is None else sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )


def _mapped(dataset: list[dict] | data.Dataset, mapper: Mapper | None) -> data.Dataset:
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset)
    return dataset if mapper is None else MapDataset(dataset, mapper)


def trivial_batch_collator(batch: list) -> list:
    """The batch as it is: images of different sizes cannot be stacked."""
    return batch


def worker_init_reset_seed(worker_id: int) -> None:
    """Seed python, numpy and torch in a worker, each worker differently."""
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)

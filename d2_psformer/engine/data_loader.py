"""Loaders for training and evaluation."""

import functools
from collections.abc import Callable, Sequence

from torch.utils.data import BatchSampler

from ..d2.config import CfgNode
from ..d2.data import DatasetFromList, InferenceSampler, MapDataset, get_detection_dataset_dicts
from ..d2.utils import comm
from ..data import SegmentMapper
from ..data.ground_truth import has_ground_truth
from ..utils.errors import UserError
from ..utils.wording import counted
from .data_sets import check_registered
from .leaving_out import LeavingOutLoader, LeavingOutMapper
from .loader_worker import CarryingMapper, RaisingLoader
from .sampler import ResumableSampler, SeededDataset
from .skipping import SkippingDataset, SkippingLoader

Mapper = Callable[[dict], dict]


def build_train_loader(
    cfg: CfgNode, *, seed: int, start_iter: int = 0, mapper: Mapper | None = None
) -> RaisingLoader:
    """Endless batches (lists of mapped dicts) for this process, from iteration ``start_iter`` on.

    An iteration takes SOLVER.ACCUMULATION_STEPS of them. The batches follow from the seed alone;
    DATALOADER.SAMPLER_TRAIN and ASPECT_RATIO_GROUPING are not used.

    Args:
        mapper: default the project's own for training.

    Raises:
        UserError: a data set is unknown or empty, or an image has no ground truth for that mapper;
            while batches are read, an image cannot be (see :mod:`.skipping`).
    """
    filter_empty = cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    records = _read_records(cfg.DATASETS.TRAIN, filter_empty=filter_empty)
    if mapper is None:
        _check_ground_truth(records, cfg.DATASETS.TRAIN)
    sampler = ResumableSampler(
        len(records),
        seed,
        start=start_iter * cfg.SOLVER.IMS_PER_BATCH,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    mapper = CarryingMapper(mapper or SegmentMapper(cfg, True))
    items, skips = DatasetFromList(records), skips_errors(cfg)
    if skips:
        loader = SkippingLoader
        data = SkippingDataset(items, mapper, seed, cfg.DATALOADER.MAX_SKIPPED)
    else:
        loader, data = RaisingLoader, SeededDataset(items, mapper, seed)
    return loader(
        data,
        batch_sampler=BatchSampler(sampler, images_per_batch(cfg), drop_last=True),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def skips_errors(cfg: CfgNode) -> bool:
    """True if DATALOADER.ON_ERROR is "skip"."""
    return cfg.DATALOADER.ON_ERROR == "skip"


def images_per_batch(cfg: CfgNode) -> int:
    """Images in one forward pass of one process.

    Raises:
        UserError: SOLVER.IMS_PER_BATCH cannot be split evenly over processes and accumulation.
    """
    steps, processes = cfg.SOLVER.ACCUMULATION_STEPS, comm.get_world_size()
    total = cfg.SOLVER.IMS_PER_BATCH
    if steps < 1 or total < 1 or total % (steps * processes):
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {total}, which cannot be split evenly over "
            f"{counted(processes, 'process')} x SOLVER.ACCUMULATION_STEPS {steps}: make it a "
            f"multiple of {max(steps, 1) * processes}."
        )
    return total // (steps * processes)


def build_test_loader(
    cfg: CfgNode, dataset_name: str, mapper: Mapper | None = None
) -> RaisingLoader:
    """One image a batch, every image once over all processes; ``mapper`` as above, for testing.

    Raises:
        UserError: the data set is unknown or empty; while batches are read, an image cannot be, or
            too many (see :mod:`.leaving_out`).
    """
    listed = _read_records([dataset_name], filter_empty=False)
    # Two processes that both have an image with two annotations would count it twice.
    unique = {record["file_name"]: record for record in listed}
    records = DatasetFromList(list(unique.values()), copy=False)
    mapper, loader = mapper or SegmentMapper(cfg, False), RaisingLoader
    if skips_errors(cfg) and cfg.TEST.PANOPTIC_EVALUATOR == "ours":  # the other wants every image
        limit = cfg.DATALOADER.MAX_SKIPPED
        mapper = LeavingOutMapper(mapper, cfg, dataset_name)
        loader = functools.partial(LeavingOutLoader, dataset_name=dataset_name, limit=limit)
    return loader(
        MapDataset(records, CarryingMapper(mapper)),
        sampler=InferenceSampler(len(records)),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def _read_records(names: Sequence[str], *, filter_empty: bool) -> list[dict]:
    for name in names:
        check_registered(name)
    try:
        return get_detection_dataset_dicts(list(names), filter_empty=filter_empty)
    except AssertionError as error:  # an empty data set
        raise UserError(f"{error} (data sets {', '.join(names)})") from error


def _check_ground_truth(records: list[dict], names: Sequence[str]) -> None:
    for record in records:
        if not has_ground_truth(record):
            raise UserError(
                f"Image '{record['file_name']}' of DATASETS.TRAIN ({', '.join(names)}) has no "
                "ground truth: train on data with 'annotations' in its JSON or with label PNGs; "
                "this one can only be predicted (--eval-only)."
            )

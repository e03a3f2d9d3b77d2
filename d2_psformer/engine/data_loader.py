"""Loaders for training and evaluation."""

from collections.abc import Callable, Sequence

from torch.utils.data import BatchSampler, DataLoader

from ..d2.config import CfgNode
from ..d2.data import DatasetFromList, build_detection_test_loader, get_detection_dataset_dicts
from ..d2.utils import comm
from ..data import PanopticMapper
from .loader_worker import EndWithParent
from .sampler import ResumableSampler, SeededDataset

Mapper = Callable[[dict], dict]


def build_train_loader(
    cfg: CfgNode, *, seed: int, start_iter: int = 0, mapper: Mapper | None = None
) -> DataLoader:
    """Endless batches (lists of mapped dicts) for this process, from iteration ``start_iter`` on.

    An iteration takes SOLVER.ACCUMULATION_STEPS of them. Which images meet in a batch follows from
    the seed alone; DATALOADER.SAMPLER_TRAIN and ASPECT_RATIO_GROUPING have no say in it.

    Args:
        mapper: default the project's own for training.

    Raises:
        ValueError: an image has no ground truth for that mapper.
    """
    records = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN))
    if mapper is None:
        _check_ground_truth(records, cfg.DATASETS.TRAIN)
    items = DatasetFromList(records)
    sampler = ResumableSampler(
        len(items),
        seed,
        start=start_iter * cfg.SOLVER.IMS_PER_BATCH,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    return DataLoader(
        SeededDataset(items, mapper or PanopticMapper(cfg, True), seed),
        batch_sampler=BatchSampler(sampler, images_per_batch(cfg), drop_last=True),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=EndWithParent(),
    )


def images_per_batch(cfg: CfgNode) -> int:
    """Images in one forward pass of one process.

    Raises:
        ValueError: SOLVER.IMS_PER_BATCH does not split evenly over processes and accumulation.
    """
    steps, processes = cfg.SOLVER.ACCUMULATION_STEPS, comm.get_world_size()
    total = cfg.SOLVER.IMS_PER_BATCH
    if steps < 1 or total < 1 or total % (steps * processes):
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {total}, which cannot be split evenly over {processes} "
            f"process(es) x SOLVER.ACCUMULATION_STEPS {steps}: make it a multiple of "
            f"{max(steps, 1) * processes}."
        )
    return total // (steps * processes)


def build_test_loader(cfg: CfgNode, dataset_name: str, mapper: Mapper | None = None) -> DataLoader:
    """One image a batch, every image once over all processes; ``mapper`` as above, for testing."""
    loader = build_detection_test_loader(
        cfg, dataset_name, mapper=mapper or PanopticMapper(cfg, False)
    )
    loader.worker_init_fn = EndWithParent()
    return loader


def _check_ground_truth(records: list[dict], names: Sequence[str]) -> None:
    for record in records:
        if "pan_seg_file_name" not in record:
            raise ValueError(
                f"Image '{record['file_name']}' of DATASETS.TRAIN ({', '.join(names)}) has no "
                "panoptic ground truth: train on data with 'annotations' in its JSON; this one can "
                "only be predicted (--eval-only)."
            )


def _as_list(samples: list[dict]) -> list[dict]:
    return samples

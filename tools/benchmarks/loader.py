"""The training loader alone: how many images a second it gives with how many workers."""

import argparse
from functools import partial

import torch
from tqdm import tqdm

from d2_psformer.engine import build_train_loader, load_config

from .dataset import generated_dataset
from .timing import milliseconds, seconds_of


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each number of workers, of the augmentations of a config on generated scenes."""
    torch.set_num_threads(1)  # as the workers of a loader have it
    batch = options.batch
    cfg = load_config(options.config_file, ["SOLVER.IMS_PER_BATCH", batch])
    seconds: dict[int, list[float]] = {workers: [] for workers in options.workers}
    with generated_dataset(options.images, options.size) as name:
        cfg.DATASETS.TRAIN = (name,)
        for _ in tqdm(range(options.rounds), desc="loader", disable=None):
            for workers, found in seconds.items():
                cfg.DATALOADER.NUM_WORKERS = workers
                loader = build_train_loader(cfg, seed=0)
                batches = iter(loader)
                # The first batches come late, and those that workers make in advance come early.
                _take(batches, 1 + workers * (loader.prefetch_factor or 0))
                count = max(1, options.images // batch)
                found.append(seconds_of(partial(_take, batches, count)) / (count * batch))
    rows = []
    for workers, found in seconds.items():
        per_image = {key + " per image": value for key, value in milliseconds(found).items()}
        speed = 1e3 / per_image["median ms per image"]
        rows.append({"workers": workers, "images a second": speed, **per_image})
    return rows


def _take(batches, count: int) -> None:
    for _ in range(count):
        next(batches)

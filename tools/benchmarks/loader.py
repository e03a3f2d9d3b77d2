"""The training loader alone: images a second, against the mapper of other panoptic projects."""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch.utils.data import DataLoader
from tqdm import tqdm

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import PanopticMapper, panoptic_mapper
from d2_psformer.engine import build_train_loader, load_config

from .coco_sized import add_dataset_options, coco_sized
from .pipelines import stage_table, watched
from .plain_mapper import PlainMapper

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "coco" / "psformer_R50_2x.yaml"
OURS, PLAIN = "ours", "plain mapper"
SEED = 0
STAGE_IMAGES = 28
# functions of a mapper -> the stage that their time belongs to
OUR_STAGES = {
    "read_image": "read image",
    "read_segment_ids": "read PNG",
    "augmentations": "augment",
    "label_segments": "masks",
    "_transform_labels": "masks",
    "_to_instances": "masks",
}
PLAIN_STAGES = {
    "read_image": "read image",
    "read_png": "read PNG",
    "augmentations": "augment",
    "cut_masks": "masks",
}

Mapper = Callable[[dict], dict]


def add_options(parser: argparse.ArgumentParser) -> None:
    add_dataset_options(parser, images=64)
    parser.add_argument(
        "--config-file", default=str(CONFIG), metavar="FILE", help="(default: R50 on COCO)"
    )
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--batch", type=int, default=2, metavar="B", help="images of a batch")


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a row for each mapper and number of workers, and a table of stages; return the rows.

    Raises:
        ValueError: the samples of the mappers differ.
    """
    torch.set_num_threads(1)  # as workers of a loader have it
    with coco_sized(options) as dataset:
        cfg = load_config(options.config_file, ["SOLVER.IMS_PER_BATCH", options.batch])
        cfg.DATASETS.TRAIN = (dataset,)
        ours = PanopticMapper(cfg, True)
        mappers = {PLAIN: PlainMapper(ours), OURS: ours}
        records = DatasetCatalog.get(dataset)
        _check_equal(mappers, records[:STAGE_IMAGES])
        found: dict[tuple[str, int], list[float]] = defaultdict(list)
        stages: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in tqdm(range(options.rounds), desc="loader", disable=None):
            for name, mapper in mappers.items():
                stages[name].append(_time_stages(name, mapper, records[:STAGE_IMAGES]))
                for workers in options.workers:
                    cfg.DATALOADER.NUM_WORKERS = workers
                    loader = build_train_loader(cfg, seed=SEED, mapper=mapper)
                    found[name, workers].append(_seconds_per_image(loader, options))
    seconds = {key: statistics.median(values) for key, values in found.items()}
    rows = [
        {
            "mapper": name,
            "workers": workers,
            "images/s": 1 / value,
            "ms per image": 1e3 * value,
            "speed-up": seconds[PLAIN, workers] / value,
            "stages": _medians(stages[name]),
        }
        for (name, workers), value in seconds.items()
    ]
    shown = [{key: value for key, value in row.items() if key != "stages"} for row in rows]
    print(tabulate(shown, headers="keys", floatfmt=".1f"))
    print("\nStages in one process, ms per image:")
    first = [row for row in rows if row["workers"] == options.workers[0]]
    print(tabulate(stage_table(first, ("mapper",)), headers="keys", floatfmt=".2f"))
    return rows


def _seconds_per_image(loader: DataLoader, options: argparse.Namespace) -> float:
    """Once what workers have made in advance is used up."""
    batches = iter(loader)
    for _ in range(1 + loader.num_workers * (loader.prefetch_factor or 0)):
        next(batches)
    count = max(1, options.images // options.batch)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    return (time.perf_counter() - start) / (count * options.batch)


def _time_stages(name: str, mapper: Mapper, records: list[dict]) -> dict[str, float]:
    """Seconds of every stage an image; ``to batch`` is the way out of a worker."""
    names = OUR_STAGES if name == OURS else PLAIN_STAGES
    with watched(names, mapper, *([panoptic_mapper] if name == OURS else [])) as seconds:
        start = time.perf_counter()
        samples = _samples(mapper, records)
        seconds["other"] = time.perf_counter() - start - sum(seconds.values())
    batches = iter(DataLoader(samples, batch_size=1, num_workers=1, collate_fn=list))
    next(batches)
    start = time.perf_counter()
    waited = sum(1 for _ in batches)
    seconds["to batch"] = (time.perf_counter() - start) * len(records) / max(1, waited)
    return {stage: value / len(records) for stage, value in seconds.items()}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Milliseconds."""
    return {stage: 1e3 * statistics.median(run[stage] for run in runs) for stage in runs[0]}


def _samples(mapper: Mapper, records: list[dict]) -> list[dict]:
    np.random.seed(SEED)
    return [mapper(record) for record in records]


def _check_equal(mappers: dict[str, Mapper], records: list[dict]) -> None:
    for one, other in zip(*(_samples(mapper, records) for mapper in mappers.values()), strict=True):
        pairs = [(one["image"], other["image"])]
        for field in ("gt_classes", "gt_masks", "gt_boxes"):
            pair = (sample["instances"].get(field) for sample in (one, other))
            pairs.append(tuple(getattr(value, "tensor", value) for value in pair))
        if not all(torch.equal(a, b) for a, b in pairs):
            raise ValueError(f"The samples of '{one['file_name']}' differ: a mapper is wrong.")

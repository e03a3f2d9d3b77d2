"""A long training of a tiny network in many resumed parts, which measures itself; run as a script.

Everything is real but small: generated scenes, a mapper in worker processes, a network of every
part, evaluations closer than the writing of figures, checkpoints. Every part ends as one on a
cluster, by a signal.
"""

import json
import math
import os
import re
import signal
import statistics
import sys
import time
from multiprocessing import active_children
from pathlib import Path

import torch
import yaml

from d2_psformer.d2.utils import setup_logger
from d2_psformer.data import register_from_config
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import Trainer, load_config
from d2_psformer.engine.output_folder import claim_folder

SAMPLES = 200  # at most
CONFIG = """
MODEL:
  META_ARCHITECTURE: PanopticSegFormer
  DEVICE: cpu
  BACKBONE: {NAME: TimmBackbone, TIMM_NAME: test_resnet, FREEZE_AT: 0}
  PIXEL_DECODER: {IN_FEATURES: [res2, res3, res4, res5], DIM: 16, MASK_DIM: 16, HEADS: 2,
                  LAYERS: 1, DIM_FEEDFORWARD: 16}
  TRANSFORMER_DECODER: {NUM_QUERIES: 5, HEADS: 2, LAYERS: 1, DIM_FEEDFORWARD: 16}
  PSFORMER: {THING_MASK_LAYERS: 1, STUFF_MASK_LAYERS: 1}
INPUT: {FORMAT: RGB, MIN_SIZE_TRAIN: [32, 48, 64], MIN_SIZE_TEST: 32}
SOLVER: {IMS_PER_BATCH: 2, WARMUP_ITERS: 0, BASE_LR: 0.0001}
DATALOADER: {NUM_WORKERS: 1}
SEED: 1
VERSION: 2
"""


class MeasuringTrainer(Trainer):
    """Writes a line of JSON every so many iterations, and ends a part by a signal to itself."""

    def __init__(self, cfg, parts: int):
        super().__init__(cfg)
        self.every, self.part = (math.ceil(self.max_iter / n) for n in (SAMPLES, parts))
        self.step_times: list[float] = []

    def run_step(self):
        """A step's time is that of the processor in units of a fixed computation right after it:
        programs that run beside make both slower."""
        start = time.process_time()
        super().run_step()
        middle = time.process_time()
        fixed_computation()
        self.step_times.append((middle - start) / (time.process_time() - middle))
        done = self.iter + 1
        if done % self.every == 0:
            own, workers = os.getpid(), [child.pid for child in active_children()]
            sample = {
                "iteration": self.iter,
                "step_time": statistics.median(self.step_times),
                "memory": memory(own),
                "files": open_files(own),
                "memory_of_workers": sum(map(memory, workers)),
                "files_of_workers": sum(map(open_files, workers)),
            }
            print(json.dumps(sample), flush=True)
            self.step_times.clear()
        if done % self.part == 0 and done < self.max_iter:
            os.kill(os.getpid(), signal.SIGUSR1)


def fixed_computation() -> None:
    """Many small operators, as a step of the tiny network has; about 1 ms."""
    x = torch.zeros(1, 16, 8, 8)
    weight = torch.zeros(16, 16, 3, 3)
    for _ in range(40):
        x = torch.nn.functional.conv2d(x, weight, padding=1).relu()


def memory(process: int) -> float:
    """MB that are no file's; those that a forked worker shares with its parent included."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous: +(\d+) kB", text, re.M)[1]) / 1000


def open_files(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def write_config(folder: Path, iterations: int, period: int) -> str:
    write_scenes(folder / "scenes", ScenesSpec(train=16, val=2, size=64))
    config = yaml.safe_load(CONFIG)
    files = ["{}", "panoptic_{}.json", "panoptic_{}"]
    config["DATASETS"] = {
        "REGISTER": [
            [f"long_{split}", *(str(folder / "scenes" / name.format(split)) for name in files)]
            for split in ("train", "val")
        ],
        "TRAIN": ["long_train"],
        "TEST": ["long_val"],
    }
    config["TEST"] = {"EVAL_PERIOD": period}
    config["SOLVER"].update(MAX_ITER=iterations, CHECKPOINT_PERIOD=max(iterations // 16, 1))
    config["OUTPUT_DIR"] = str(folder / "output")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def main(folder: Path, iterations: int, parts: int, period: int) -> None:
    torch.set_num_threads(1)
    cfg = load_config(write_config(folder, iterations, period))
    register_from_config(cfg)
    setup_logger(cfg.OUTPUT_DIR, name="d2_psformer")
    for _ in range(parts):
        claim_folder(cfg.OUTPUT_DIR, resume=True)
        trainer = MeasuringTrainer(cfg, parts)
        trainer.resume_or_load(resume=True)
        try:
            trainer.train()
        except SystemExit as error:
            assert error.code == 128 + signal.SIGUSR1


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))

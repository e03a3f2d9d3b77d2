"""A training of seconds: a tiny model on generated numbers, also run as a script by the tests.

The mapper draws from Python's, NumPy's and torch's generators and the model has dropout, so that
any difference in seeding shows in the losses.
"""

import argparse
import json
import random
import signal
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from d2_psformer.config import add_psformer_config
from d2_psformer.d2.config import configurable, get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.modeling import META_ARCH_REGISTRY
from d2_psformer.d2.utils import comm, get_event_storage
from d2_psformer.engine import Trainer, run
from d2_psformer.engine import trainer as engine_trainer
from d2_psformer.engine.output_folder import claim_folder

NUM_IMAGES = 10


@META_ARCH_REGISTRY.register()
class DummyModel(nn.Module):
    """Regresses the mean of an image; knows as many classes as the data set."""

    @configurable
    def __init__(self, *, num_classes: int, dropout: float):
        super().__init__()
        self.backbone = nn.Linear(12, 8)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(8)
        self.classifier = nn.Linear(8, num_classes)

    @classmethod
    def from_config(cls, cfg):
        names = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes
        return {"num_classes": len(names), "dropout": cfg.MODEL.PIXEL_DECODER.DROPOUT}

    def forward(self, batch: list[dict]):
        images = torch.stack([x["image"] for x in batch]).to(self.backbone.weight.device)
        scores = self.classifier(self.norm(self.dropout(self.backbone(images).relu())))
        if not self.training:
            return [{"scores": score} for score in scores]
        get_event_storage().put_scalar("class_score", scores.detach().float().sigmoid().mean())
        target = images.mean(1, keepdim=True).expand_as(scores)
        return {
            "loss_class": F.mse_loss(scores.float(), target),
            "loss_class_0": 0.1 * scores.float().abs().mean(),
        }


def dummy_mapper(record: dict) -> dict:
    noise = torch.rand(12) + random.random() + torch.tensor(np.random.rand(12), dtype=torch.float32)
    return {**record, "image": noise + record["image_id"]}


def register_dummy(name: str, things: int = 2, stuff: int = 1) -> None:
    """Register ``NUM_IMAGES`` records without files, and metadata like register_panoptic's."""
    if name in DatasetCatalog.list():
        return
    records = [
        {"file_name": f"{i}.jpg", "image_id": i, "height": 3, "width": 4} for i in range(NUM_IMAGES)
    ]
    DatasetCatalog.register(name, lambda: records)
    classes = [f"class{i}" for i in range(things + stuff)]
    MetadataCatalog.get(name).set(
        thing_classes=classes[:things],
        stuff_classes=classes,
        thing_dataset_id_to_contiguous_id={i + 1: i for i in range(things)},
        stuff_dataset_id_to_contiguous_id={i + 1: i for i in range(things + stuff)},
    )


def dummy_cfg(output_dir, *opts):
    """A config for ``DummyModel`` on the CPU: 20 iterations of 4 images."""
    cfg = get_cfg()
    add_psformer_config(cfg)
    register_dummy("dummy_train")
    cfg.MODEL.META_ARCHITECTURE = "DummyModel"
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN = ("dummy_train",)
    cfg.DATASETS.TEST = ()
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.SOLVER.BASE_LR = 0.01
    cfg.SOLVER.MAX_ITER = 20
    cfg.SOLVER.STEPS = (15,)
    cfg.SOLVER.WARMUP_ITERS = 3
    cfg.SOLVER.CHECKPOINT_PERIOD = 5
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    cfg.SEED = 7
    cfg.OUTPUT_DIR = str(output_dir)
    cfg.merge_from_list(list(opts))
    return cfg


class RecordingTrainer(Trainer):
    """Writes one line of JSON with the losses for every iteration, and can be slowed down.

    Args:
        signals: iteration -> signal that the last process has in it.
    """

    def __init__(self, cfg, pause: float = 0.0, signals: dict[int, int] | None = None):
        super().__init__(cfg, mapper=dummy_mapper)
        self.pause, self.signals = pause, signals or {}
        self.losses: list[float] = []

    def run_step(self):
        super().run_step()
        time.sleep(self.pause)
        if "total_loss" in self.storage.latest():  # in the main process
            self.losses.append(self.storage.latest()["total_loss"][0])
            print(json.dumps({"iteration": self.iter, "loss": self.losses[-1]}), flush=True)
        if self.iter in self.signals and comm.get_rank() == comm.get_world_size() - 1:
            signal.raise_signal(self.signals[self.iter])


def slow_test(seconds: float, model: nn.Module) -> dict:
    """An evaluation that takes so long; its figure follows from the weights."""
    print("evaluating", flush=True)
    end = time.monotonic() + seconds
    while comm.is_main_process() and time.monotonic() < end:
        time.sleep(0.05)
    comm.synchronize()  # the others wait for the first
    return {"panoptic_seg": {"PQ": float(model.classifier.weight.detach().abs().sum())}}


def main(args: argparse.Namespace) -> None:
    if args.evaluation is not None:
        engine_trainer.test = lambda cfg, model: slow_test(args.evaluation, model)
    claim_folder(str(args.output_dir), args.resume)
    signals = {args.sigusr1_at: signal.SIGUSR1}
    trainer = RecordingTrainer(dummy_cfg(args.output_dir, *args.opts), args.pause, signals)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("output_dir")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--evaluation", type=float, metavar="SECONDS")
    parser.add_argument("--sigusr1-at", type=int, metavar="ITERATION")
    parser.add_argument("--ignore-int", action="store_true")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--num-machines", type=int, default=1)
    parser.add_argument("--machine-rank", type=int, default=0)
    parser.add_argument("--dist-url", default="auto")
    parser.add_argument("opts", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    # The tests may run in the background of a script, where SIGINT is ignored.
    signal.signal(
        signal.SIGINT, signal.SIG_IGN if arguments.ignore_int else signal.default_int_handler
    )
    run(main, arguments)

"""The trainer of both backends."""

import logging
import os
import time
import uuid
import weakref
from contextlib import suppress

import torch
from torch import nn

from ..checkpoint import load_pretrained_backbone
from ..d2.config import CfgNode
from ..d2.engine import HookBase, TrainerBase, hooks
from ..d2.utils import EventWriter, JSONWriter, comm, seed_all_rng
from ..data.class_metadata import set_classes
from ..utils.errors import UserError
from .best_checkpoint import BestCheckpoint, StopTraining
from .checkpointer import AtomicCheckpointer
from .data_loader import Mapper, build_train_loader, images_per_batch, skips_errors
from .data_sets import align_data_sets
from .distributed import distribute
from .evaluate import check_evaluation, test
from .freezing import freeze
from .interruption import Interruption
from .model import build_model
from .optimizer import build_gradient_clipper, build_optimizer
from .optimizer_state import load_optimizer_state
from .scaling import scale_to_processes
from .schedule import build_lr_scheduler
from .setup import save_config
from .skipping import SkippedImages
from .trackers import build_trackers
from .train_step import TrainStep, amp_dtype
from .weight_average import WeightAverage
from .writers import MetricPrinter

logger = logging.getLogger(__name__)


class Trainer(TrainerBase):
    """Trains the model of a config; a resumed run equals an uninterrupted one bit by bit.

    ::

        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=False)
        trainer.train()

    Args:
        mapper: turns data-set dicts into training samples; default the project's own.

    Attributes:
        results: of the last evaluation, empty before the first.
        run_id: names the training in experiment trackers; a resumed one keeps it.
        model: the one that is learned.
        evaluated: the one that is evaluated and saved; another one with SOLVER.EMA_DECAY.
    """

    def __init__(self, cfg: CfgNode, mapper: Mapper | None = None):
        super().__init__()
        self.cfg = cfg = scale_to_processes(cfg, comm.get_world_size())
        self.mapper = mapper
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.results: dict = {}
        self.run_id = uuid.uuid4().hex
        metadata = align_data_sets(cfg)
        images_per_batch(cfg)  # raises an error now, before the model is built
        self.seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()

        seed_all_rng(self.seed)  # every process starts from the same weights
        model = build_model(cfg)
        freeze(model, cfg.SOLVER.FREEZE)
        _log_size(model)
        self.optimizer = build_optimizer(cfg, model)
        try:
            self.scheduler = build_lr_scheduler(cfg, self.optimizer)
        except ValueError as error:
            raise UserError(f"SOLVER describes no learning-rate schedule: {error}") from error
        decay = cfg.SOLVER.EMA_DECAY
        self.average = WeightAverage(model, decay) if decay else None
        self.evaluated = self.average.averaged if self.average else model
        self.checkpointer = AtomicCheckpointer(
            self.evaluated,
            cfg.OUTPUT_DIR,
            metadata=metadata,
            config=cfg.dump(),
            trainer=weakref.proxy(self),
        )
        self.model = model
        dtype = amp_dtype(cfg)
        logger.info("Training in %s (SOLVER.AMP).", dtype or torch.float32)
        self.train_step = TrainStep(
            distribute(model),
            self.optimizer,
            clip=build_gradient_clipper(cfg),
            amp_dtype=dtype,
            seed=self.seed,
            rank=comm.get_rank(),
        )
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase | None]:
        """Return the hooks in the order in which they run."""
        solver, is_main = self.cfg.SOLVER, comm.is_main_process()
        checkpoints = hooks.PeriodicCheckpointer(self.checkpointer, solver.CHECKPOINT_PERIOD)
        every = [hooks.IterationTimer(), hooks.LRScheduler(), self.average]
        every += [SkippedImages(self.cfg.DATALOADER.MAX_SKIPPED)] if skips_errors(self.cfg) else []
        # After the two whose state it saves; before what can go wrong in the evaluation.
        every += [checkpoints] if is_main else []
        every += [Interruption()]
        every += [hooks.EvalHook(self.cfg.TEST.EVAL_PERIOD, self._evaluate)]
        every += self._build_best_checkpoint()
        # Last, so that figures of the evaluation are written too.
        every += [hooks.PeriodicWriter(self.build_writers())] if is_main else []
        return every

    def _build_best_checkpoint(self) -> list[HookBase]:
        """The best of several evaluations, where there are several."""
        solver = self.cfg.SOLVER
        if self.cfg.TEST.EVAL_PERIOD > 0:
            patience = solver.EARLY_STOPPING
            return [BestCheckpoint(self.cfg.OUTPUT_DIR, solver.BEST_METRIC, patience)]
        if solver.EARLY_STOPPING:
            raise UserError("SOLVER.EARLY_STOPPING counts evaluations: set TEST.EVAL_PERIOD too.")
        return []

    def build_writers(self) -> list[EventWriter]:
        """Return writers to the terminal and to ``metrics.json`` in OUTPUT_DIR."""
        folder = self.cfg.OUTPUT_DIR
        os.makedirs(folder, exist_ok=True)
        return [
            MetricPrinter(self.max_iter),
            JSONWriter(os.path.join(folder, "metrics.json")),
        ]

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue from the last checkpoint in OUTPUT_DIR if ``resume`` is true and there is one.

        Otherwise start with MODEL.WEIGHTS, or with pretrained weights for the backbone.
        """
        resume = resume and self.checkpointer.has_checkpoint()
        if not resume and not self.cfg.MODEL.WEIGHTS:
            if self.cfg.SOLVER.FINETUNE:
                raise UserError("SOLVER.FINETUNE is True: set MODEL.WEIGHTS to what to start from.")
            load_pretrained_backbone(self.evaluated, self.cfg)
            return
        self.checkpointer.finetune = self.cfg.SOLVER.FINETUNE and not resume
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        set_classes(self.cfg.DATASETS.TRAIN[0], self.checkpointer.metadata)
        align_data_sets(self.cfg)
        if resume:
            self.start_iter = self.iter + 1  # the checkpoint names the iteration just done

    def train(self) -> dict:
        """Train from ``start_iter`` to SOLVER.MAX_ITER.

        ``config.yaml`` is written once everything that can be refused has been checked, so that a
        failed start leaves that of an earlier run in the same folder as it was.

        Returns:
            The results of the evaluation at the end.
        """
        check_evaluation(self.cfg)
        self.loader = build_train_loader(
            self.cfg, seed=self.seed, start_iter=self.start_iter, mapper=self.mapper
        )
        self._batches = iter(self.loader)
        save_config(self.cfg)
        if comm.is_main_process():  # a checkpoint may have named the run
            self.register_hooks([hooks.PeriodicWriter(build_trackers(self.cfg, self.run_id))])
        self.model.train()
        with suppress(StopTraining):
            super().train(self.start_iter, self.max_iter)
        return self.results

    def run_step(self) -> None:
        start = time.perf_counter()
        batches = [next(self._batches) for _ in range(self.cfg.SOLVER.ACCUMULATION_STEPS)]
        data_time = time.perf_counter() - start
        metrics = self.train_step(batches, self.iter)
        every = comm.gather({**metrics, "data_time": data_time})
        if every:  # in the main process
            means = {name: sum(m[name] for m in every) / len(every) for name in metrics}
            slowest = max(m["data_time"] for m in every)
            self.storage.put_scalars(**means, data_time=slowest)

    def _evaluate(self) -> dict:
        self.results = test(self.cfg, self.evaluated)
        return self.results

    def state_dict(self) -> dict:
        """Detectron2's entries, and "optimizer", "grad_scaler", "seed" and "run"."""
        return {
            **super().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.train_step.scaler.state_dict(),
            "seed": self.seed,
            "run": self.run_id,
        }

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        source = f"checkpoint '{self.checkpointer.path}'"
        load_optimizer_state(self.optimizer, state_dict.get("optimizer"), source)
        if state_dict["grad_scaler"] and self.train_step.scaler.is_enabled():
            self.train_step.scaler.load_state_dict(state_dict["grad_scaler"])
        self.run_id = state_dict.get("run", self.run_id)
        if self.cfg.SEED < 0:  # the seed was drawn by the first run
            self.seed = self.train_step.seed = state_dict["seed"]


def _log_size(model: nn.Module) -> None:
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    trained = sum(size for size, is_trained in sizes if is_trained)
    logger.info(
        "%s has %.1fM parameters, %.1fM of them are trained.",
        type(model).__name__, sum(size for size, _ in sizes) / 1e6, trained / 1e6,
    )  # fmt: skip

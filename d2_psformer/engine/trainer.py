"""The trainer of both backends."""

import logging
import os
import time
import uuid
import weakref
from contextlib import suppress

import torch

from ..checkpoint import load_pretrained_backbone
from ..d2.config import CfgNode
from ..d2.engine import HookBase, TrainerBase, hooks
from ..d2.utils import EventWriter, comm, seed_all_rng
from ..data.class_metadata import set_classes
from ..utils.errors import UserError
from .best_checkpoint import BestCheckpoint, StopTraining
from .checkpointer import AtomicCheckpointer
from .data_loader import Mapper, build_train_loader, images_per_batch, skips_errors
from .data_sets import align_data_sets
from .distributed import distribute
from .evaluate import check_evaluation, test, verify
from .evaluations import Evaluations
from .freezing import freeze
from .interruption import Interruption
from .loader_worker import naming_dead_workers
from .model import build_model, log_size
from .optimizer import build_gradient_clipper, build_optimizer
from .optimizer_state import load_optimizer_state
from .output_folder import release_folder
from .rates import LRScheduler
from .saved_state import taking_over, warn_of_another_beginning
from .scaling import scale_to_processes
from .schedule import build_lr_scheduler
from .setup import save_config
from .skipping import SkippedImages
from .trackers import build_trackers
from .train_step import TrainStep, amp_dtype
from .weight_average import WeightAverage
from .writers import (
    MetricPrinter,
    MetricsFile,
    MetricWriters,
    checked_history,
    history_of,
    is_due,
    restore_history,
)

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
        evaluations: how many there have been in this process.
        metrics: the file of figures.
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
        self.evaluations = 0
        self.run_id = uuid.uuid4().hex
        self.metrics = MetricsFile(os.path.join(cfg.OUTPUT_DIR, "metrics.json"))
        self.interruption = Interruption()
        self._history: dict = {}
        metadata = align_data_sets(cfg)
        images_per_batch(cfg)  # raises an error now, before the model is built
        self.seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()

        seed_all_rng(self.seed)  # every process starts from the same weights
        model = build_model(cfg)
        freeze(model, cfg.SOLVER.FREEZE)
        log_size(model)
        self.optimizer = build_optimizer(cfg, model)
        try:
            self.scheduler = build_lr_scheduler(cfg, self.optimizer)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(
                f"SOLVER describes no learning-rate schedule ({error}): check SOLVER.STEPS, which "
                "must increase, MAX_ITER, WARMUP_ITERS and LR_SCHEDULER_NAME."
            ) from error
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
            max_bad_steps=cfg.SOLVER.MAX_BAD_STEPS,
        )
        self.register_hooks(self.build_hooks())

    def build_hooks(self) -> list[HookBase | None]:
        """Return the hooks in the order in which they run."""
        solver, is_main = self.cfg.SOLVER, comm.is_main_process()
        checkpoints = hooks.PeriodicCheckpointer(self.checkpointer, solver.CHECKPOINT_PERIOD)
        every = [hooks.IterationTimer(), LRScheduler(), self.average]
        every += [SkippedImages(self.cfg.DATALOADER.MAX_SKIPPED)] if skips_errors(self.cfg) else []
        # After the two whose state it saves; before what can go wrong in the evaluation.
        every += [checkpoints] if is_main else []
        every += [self.interruption, Evaluations(self.cfg.TEST.EVAL_PERIOD, self._evaluate)]
        every += self._build_best_checkpoint()
        # Last, so that figures of the evaluation are written too.
        every += [MetricWriters(self.build_writers())] if is_main else []
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
        return [MetricPrinter(self.max_iter), self.metrics]

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
        self._is_restored = False
        loaded = self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        set_classes(self.cfg.DATASETS.TRAIN[0], self.checkpointer.metadata)
        align_data_sets(self.cfg)
        if self._is_restored:
            source = f"checkpoint '{self.checkpointer.path}'"
            warn_of_another_beginning(self.cfg, loaded.get("config"), source)
            self.start_iter = self.iter + 1  # the checkpoint names the iteration just done
        elif resume:
            logger.warning(
                "Checkpoint '%s' holds weights alone: training begins at iteration 0, with a new "
                "optimizer.", self.checkpointer.path
            )  # fmt: skip

    @naming_dead_workers()
    def train(self) -> dict:
        """Train from ``start_iter`` to SOLVER.MAX_ITER.

        ``config.yaml`` is written once everything that can be refused has been checked, so that a
        failed start leaves that of an earlier run in the same folder as it was.

        Returns:
            The results of the evaluation at the end.

        Raises:
            SystemExit: they differ from TEST.EXPECTED_RESULTS, as in Detectron2.
        """
        check_evaluation(self.cfg)
        self.loader = build_train_loader(
            self.cfg, seed=self.seed, start_iter=self.start_iter, mapper=self.mapper
        )
        self._batches = iter(self.loader)
        save_config(self.cfg)
        if comm.is_main_process():  # a checkpoint may have named the run
            self.register_hooks([MetricWriters(build_trackers(self.cfg, self.run_id))])
        self.model.train()
        try:
            with self.interruption.handled(), suppress(StopTraining):
                super().train(self.start_iter, self.max_iter)
        finally:
            del self._batches  # ends the workers
            release_folder(self.cfg.OUTPUT_DIR)
        if self.results:
            verify(self.cfg, self.results)
        return self.results

    def before_train(self) -> None:
        """Go back to the iteration of the checkpoint, and do what was left undone there."""
        self.iter = self.storage.iter = max(self.start_iter - 1, 0)
        if comm.is_main_process():
            self.metrics.resume(self.start_iter)
            restore_history(self.storage, self._history)
        super().before_train()
        if comm.is_main_process() and is_due(self.start_iter, self):
            self.metrics.write()

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
        with self.interruption.evaluating():
            self.results = test(self.cfg, self.evaluated)
        self.evaluations += 1
        return self.results

    def state_dict(self) -> dict:
        """Detectron2's entries, and "optimizer", "grad_scaler", "seed", "run" and "history"."""
        return {
            **super().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.train_step.scaler.state_dict(),
            "bad_steps": self.train_step.bad_steps,
            "seed": self.seed,
            "run": self.run_id,
            "history": history_of(self.storage) if hasattr(self, "storage") else {},
        }

    def load_state_dict(self, state_dict: dict) -> None:
        source = f"checkpoint '{self.checkpointer.path}'"
        with taking_over(self.state_dict(), state_dict, source):
            super().load_state_dict(state_dict)
            load_optimizer_state(self.optimizer, state_dict.get("optimizer"), source)
            if state_dict["grad_scaler"] and self.train_step.scaler.is_enabled():
                self.train_step.scaler.load_state_dict(state_dict["grad_scaler"])
            self.train_step.bad_steps = state_dict.get("bad_steps", [0, 0])
            self.run_id = state_dict.get("run", self.run_id)
            self._history = checked_history(state_dict.get("history", {}))
            if self.cfg.SEED < 0:  # the seed was drawn by the first run
                self.seed = self.train_step.seed = state_dict["seed"]
        self._is_restored = True

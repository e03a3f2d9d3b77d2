"""One step of training, stage by stage: forward pass, losses, backward pass, optimizer."""

import argparse
from collections.abc import Callable
from functools import partial

from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from d2_psformer.classes import Classes
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.engine import TrainStep, build_gradient_clipper, build_optimizer
from d2_psformer.engine.train_step import amp_dtype

from .contestants import MASK2FORMER, OURS, PLAIN
from .inputs import training_sample
from .mask2former import Mask2FormerStep, build_mask2former
from .models import add_model_options, build_config, build_our_model, make_state, size_of
from .own_process import OwnProcess
from .plain_model import PlainPanopticSegFormer
from .plain_training import PlainStep, PlainTraining
from .stages import TOTAL, Contestant, StageClock, stages_in_turns

PEERS = (PLAIN, MASK2FORMER)
ONE_BATCH, ONE_BY_ONE = "ours, {} images at once", "ours, {} images one by one"
FEATURES = "backbone, encoder, location decoder"
MASKS = "mask decoders"
MATCHING = "matching"
LOSSES = "losses"
BACKWARD = "backward"
OPTIMIZER = "optimizer"
STAGES = (FEATURES, MASKS, MATCHING, LOSSES, BACKWARD, OPTIMIZER, TOTAL)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", type=size_of, default=(512, 672), metavar="HxW", help="(default: 512x672)"
    )
    parser.add_argument("--things", type=int, default=20, metavar="N", help="in every image")
    parser.add_argument("--stuff", type=int, default=10, metavar="N", help="in every image")
    parser.add_argument(
        "--batch",
        type=int,
        default=4,
        metavar="B",
        help="ours with so many images at once, and one by one; 0 for neither (default: 4)",
    )
    add_model_options(parser)


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a table for each count of threads; return the rows of (contestant, stage)."""
    rows = []
    for threads in options.threads:
        running = {
            name: OwnProcess(partial(_build, name, options), threads)
            for name in _contestants(options)
        }
        memory = {}
        if not options.no_memory:
            for name, one in tqdm(running.items(), desc="training: memory", disable=None):
                memory[name] = one.peak_memory(options.device)
        measurements = {name: one.stages for name, one in running.items()}
        seconds = stages_in_turns(measurements, options.rounds)
        found = [{"threads": threads, **row} for row in _rows(seconds, memory)]
        print(_table(found))
        rows += found
    return rows


def _contestants(options: argparse.Namespace) -> list[str]:
    names = [PLAIN, OURS] if options.no_peer else [PLAIN, OURS, MASK2FORMER]
    if options.batch:
        names += [ONE_BATCH.format(options.batch), ONE_BY_ONE.format(options.batch)]
    return names


def _build(name: str, options: argparse.Namespace) -> Contestant:
    clock = StageClock(options.device, options.cpu_time)
    return Contestant(_step(name, options, clock), clock, BACKWARD)


def _step(name: str, options: argparse.Namespace, clock: StageClock) -> Callable[[], object]:
    """A step of one contestant, whose methods the clock watches."""
    cfg = build_config(options)
    count = 1 if name in (PLAIN, OURS, MASK2FORMER) else options.batch
    layout = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    batch = [
        training_sample(*options.size, options.things, options.stuff, layout, seed)
        for seed in range(count)
    ]
    if name == MASK2FORMER:
        step = Mask2FormerStep(build_mask2former().to(options.device), batch)
        clock.watch(LOSSES, step.model.criterion, "forward")
        clock.watch(MATCHING, step.model.criterion.matcher, "forward")
        clock.watch(OPTIMIZER, step, "update")
        clock.watch(MASKS, step.model.model.transformer_module, "forward")
        clock.watch(FEATURES, step.model, "forward")
        return step
    model = build_our_model(cfg, batch[0])
    if name == PLAIN:
        return _plain_step(model, cfg, batch, clock)
    batches = [[x] for x in batch] if name == ONE_BY_ONE.format(count) else [batch]
    return partial(_our_step(model, cfg, clock), batches, 0)


def _our_step(model: nn.Module, cfg: CfgNode, clock: StageClock) -> TrainStep:
    optimizer = build_optimizer(cfg, model)
    step = TrainStep(
        model.train(), optimizer, clip=build_gradient_clipper(cfg), amp_dtype=amp_dtype(cfg)
    )
    make_state(optimizer)
    for part in (model.backbone, model.pixel_decoder, model.location_decoder):
        clock.watch(FEATURES, part, "forward")
    for part in (model.thing_mask_decoder, model.stuff_decoder):
        clock.watch(MASKS, part, "forward")
    for method in ("match", "rematch_with_masks"):
        clock.watch(MATCHING, model.criterion, method)
    clock.watch(LOSSES, model, "forward")
    clock.watch(OPTIMIZER, optimizer, "step")
    clock.watch(OPTIMIZER, step, "clip")
    return step


def _plain_step(
    model: nn.Module, cfg: CfgNode, batch: list[dict], clock: StageClock
) -> Callable[[], object]:
    plain = PlainPanopticSegFormer(model).train()
    training = PlainTraining(plain)
    step = PlainStep(training, cfg)
    make_state(step.optimizer)
    for method in ("features", "memory", "locations"):
        clock.watch(FEATURES, plain, method)
    for method in ("thing_masks", "stuff_masks"):
        clock.watch(MASKS, plain, method)
    for method in ("match", "rematch"):
        clock.watch(MATCHING, training, method)
    clock.watch(LOSSES, training, "losses")
    clock.watch(OPTIMIZER, step, "update")
    return partial(step, batch)


def _rows(seconds: dict[str, dict[str, float]], memory: dict[str, int]) -> list[dict]:
    rows = []
    for name, found in seconds.items():
        for stage in STAGES:
            if stage not in found:
                continue
            of_plain = seconds.get(PLAIN, {}).get(stage)
            used = memory.get(name) if stage == TOTAL else None
            rows.append(
                {
                    "contestant": name,
                    "stage": stage,
                    "ms": 1e3 * found[stage],
                    "share": found[stage] / found[TOTAL],
                    "speed-up": of_plain / found[stage] if of_plain else None,
                    "peak MB": used / 2**20 if used else None,
                    "memory saving": memory[PLAIN] / used if used and PLAIN in memory else None,
                }
            )
    return rows


def _table(rows: list[dict]) -> str:
    """One line a contestant, the stages side by side."""
    lines = []
    for name in dict.fromkeys(row["contestant"] for row in rows):
        mine = {row["stage"]: row for row in rows if row["contestant"] == name}
        total = mine[TOTAL]
        lines.append(
            {
                "contestant": name,
                **{f"{stage}, ms": mine.get(stage, {}).get("ms") for stage in STAGES},
                "times faster": total["speed-up"],
                "peak MB": total["peak MB"],
                "times less": total["memory saving"],
            }
        )
    return tabulate(lines, headers="keys", floatfmt=".4g", missingval="")

"""Who takes turns at inference, each with a clock on its stages.

A name tells what is run: "plain", "ours" or Mask2Former, then autocast types and "compiled" behind
commas.
"""

import argparse
from contextlib import nullcontext
from functools import partial

import torch
from torch import nn

from .inputs import image_sample
from .mask2former import Mask2FormerInference, build_mask2former
from .models import DTYPES, build_config, build_our_model
from .official_shares import BACKBONE, ENCODER, LOCATION, REST, STUFF, THINGS
from .own_process import OwnProcess
from .plain_model import PlainPanopticSegFormer
from .stages import TOTAL, Contestant, StageClock

PLAIN, OURS, MASK2FORMER = "plain", "ours", "transformers' Mask2Former"
STAGES = (BACKBONE, ENCODER, LOCATION, THINGS, STUFF, REST, TOTAL)
_OUR_PARTS = {
    BACKBONE: "backbone",
    ENCODER: "pixel_decoder",
    LOCATION: "location_decoder",
    THINGS: "thing_mask_decoder",
    STUFF: "stuff_decoder",
}
_PLAIN_METHODS = {
    BACKBONE: "features",
    ENCODER: "memory",
    LOCATION: "locations",
    THINGS: "thing_masks",
    STUFF: "stuff_masks",
}


def names_of(options: argparse.Namespace) -> list[str]:
    """All that the options ask for; plain in float32 always is the first."""
    dtypes = [dtype for dtype in options.dtype if dtype != "float32"]
    names = [PLAIN, OURS, *(f"{OURS}, {dtype}" for dtype in dtypes)]
    if options.compile:
        names += [f"{OURS}, compiled", *(f"{OURS}, compiled, {dtype}" for dtype in dtypes)]
    if not options.no_peer:
        names.append(MASK2FORMER)
    if options.device == "cuda":  # where everyone uses them
        peers = [name for name in (PLAIN, MASK2FORMER) if name in names]
        names += [f"{name}, {dtype}" for name in peers for dtype in dtypes]
    return names


def is_ours(name: str) -> bool:
    return name.split(",", maxsplit=1)[0] == OURS


def in_own_process(
    name: str, options: argparse.Namespace, threads: int, case: tuple, images: int = 1
) -> OwnProcess:
    """A contestant on images of ``case``, the sizes of input and output."""
    return OwnProcess(partial(build, name, options, case, images), threads)


def build(name: str, options: argparse.Namespace, case: tuple, images: int) -> Contestant:
    """A contestant on images of ``case``, in this process."""
    samples = [image_sample(*case, seed) for seed in range(images)]
    clock = StageClock(options.device, options.cpu_time)
    kind, *how = name.split(", ")
    context = torch.inference_mode
    if kind == MASK2FORMER:
        model = build_mask2former(samples[0]).to(options.device)
        model = Mask2FormerInference(model, clock)
    else:
        model = build_our_model(build_config(options), samples[0]).eval()
        if kind == PLAIN:
            model, context = PlainPanopticSegFormer(model), torch.no_grad
            for stage, method in _PLAIN_METHODS.items():
                clock.watch(stage, model, method)
        else:
            _watch_ours(model, clock, "compiled" in how)
    dtype = next((DTYPES[x] for x in how if x in DTYPES), None)

    def run() -> list[dict]:
        autocast = torch.autocast(options.device, dtype) if dtype else nullcontext()
        with context(), autocast:
            return model(samples)

    return Contestant(run, clock, REST)


def _watch_ours(model: nn.Module, clock: StageClock, is_compiled: bool) -> None:
    for stage, name in _OUR_PARTS.items():
        part = getattr(model, name)
        if is_compiled:
            part.forward = torch.compile(part.forward)
        clock.watch(stage, part, "forward")

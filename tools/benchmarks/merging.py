"""Mask-wise merging, from small masks to the map of ids, against a loop over whole masks."""

import argparse
import os
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from d2_psformer.modeling.merging import MaskWiseMerging
from d2_psformer.modeling.resized_masks import ResizedMasks
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from .pipelines import TOTAL, Pipeline, run_stages, stage_table, time_stages
from .plain_merging import Candidates, PlainMerging
from .timing import Call, peak_memory

THINGS, STUFF = 100, 53
SIZES = {"800x1200": (800, 1200), "427x640": (427, 640)}
CELLS = (100, 150)  # an eighth of 800x1200
# name -> objects and stuff regions in the picture, candidates that are sure of each object
SCENES = {"few segments": (6, 4, 1), "many segments": (40, 15, 1), "rivals": (25, 15, 4)}
GOLDEN = "merge_case"  # the reference's cases begin so
PLAIN, OURS = "whole masks", "ours"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument(
        "--reference",
        type=Path,
        default=os.environ.get("PSFORMER_REFERENCE"),
        metavar="DIR",
        help="folder with merge_case*.npz of the official code, which become cases, too "
        "(default: $PSFORMER_REFERENCE)",
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")


def measure(options: argparse.Namespace) -> list[dict]:
    """Print a row for each measurement; return all of them.

    Raises:
        ValueError: the maps of a case differ.
    """
    cases = [*options.cases, *_golden_cases(options.reference)]
    plan = [(case, size, n) for case in cases for size in options.sizes for n in options.threads]
    rows = []
    for case, size, threads in tqdm(plan, desc="merging", disable=None):
        torch.set_num_threads(threads)
        candidates, rules = _case(case, size, options)
        contestants = {name: stages(rules) for name, stages in CONTESTANTS.items()}
        segments = _check_equal(f"{case}, {size}", contestants, candidates)
        times = time_stages(contestants, candidates, options.rounds, options.device)
        memory = {} if options.no_memory or threads > 1 else {
            name: peak_memory(partial(_call, name, case, size, options), options.device)
            for name in CONTESTANTS
        }  # fmt: skip
        for name, stages in times.items():
            rows.append(
                {
                    "case": case,
                    "size": size,
                    "threads": threads,
                    "masks": name,
                    "segments": segments,
                    "ms": 1e3 * stages[TOTAL],
                    "speed-up": times[PLAIN][TOTAL] / stages[TOTAL],
                    "peak MB": memory[name] / 2**20 if name in memory else None,
                    "stages": {s: 1e3 * value for s, value in stages.items() if s != TOTAL},
                }
            )
    shown = [{key: value for key, value in row.items() if key != "stages"} for row in rows]
    print(tabulate(shown, headers="keys", floatfmt=".1f", missingval=""))
    print("\nStages, all cases together:")
    print(tabulate(stage_table(rows, ("size", "threads", "masks")), "keys", floatfmt=".2f"))
    return rows


def our_stages(rules: MaskWiseMerging) -> Pipeline:
    """What the model does, from :class:`Candidates` to (id map, candidate of every id)."""

    def reject(given: Candidates) -> tuple[Candidates, Tensor]:
        chosen = rules.may_stay(given.masks, given.scores).nonzero().flatten()
        masks = ResizedMasks(given.masks[chosen], given.size)
        return Candidates(masks, given.scores[chosen], given.is_thing[chosen], given.size), chosen

    def score(known: tuple[Candidates, Tensor]) -> tuple[Candidates, Tensor, Tensor]:
        left, chosen = known
        return left, chosen, rules.score(left.masks, left.scores)

    def merge(known: tuple[Candidates, Tensor, Tensor]) -> tuple[Tensor, list[int]]:
        left, chosen, scores = known
        id_map, segments = rules(left.masks, scores, left.is_thing)
        return id_map, chosen[[segment.index for segment in segments]].tolist()

    return {"reject": reject, "score": score, "merge": merge}


CONTESTANTS = {PLAIN: lambda rules: PlainMerging(rules).stages(), OURS: our_stages}


def _check_equal(case: str, contestants: dict[str, Pipeline], candidates: Candidates) -> int:
    """Segments of the map that all of them make."""
    (first, winners), *others = (
        run_stages(stages, candidates)[1] for stages in contestants.values()
    )
    for id_map, found in others:
        if found != winners or not torch.equal(id_map.to(first.dtype), first):
            raise ValueError(f"The maps of '{case}' differ: one of the mergings is wrong.")
    return len(winners)


def _call(name: str, case: str, size: str, options: argparse.Namespace) -> Call:
    candidates, rules = _case(case, size, options)
    return partial(run_stages, CONTESTANTS[name](rules), candidates)


def _case(case: str, size: str, options: argparse.Namespace) -> tuple[Candidates, MaskWiseMerging]:
    if case.startswith(GOLDEN):
        masks, scores, rules = _read_golden(options.reference / f"{case}.npz")
    else:
        masks, scores, rules = *make_candidates(*SCENES[case]), MaskWiseMerging()
    is_thing = torch.arange(THINGS + STUFF) < THINGS
    tensors = (x.to(options.device) for x in (masks, scores, is_thing))
    return Candidates(*tensors, SIZES[size]), rules


def make_candidates(things: int, stuff: int, rivals: int) -> tuple[Tensor, Tensor]:
    """Small masks (153, h, w) and class scores (153,) as a trained model gives them.

    Every object has ``rivals`` candidates that are sure of it, every stuff region one. All other
    candidates are unsure, and their masks show some object faintly.
    """
    random = torch.Generator().manual_seed(things)
    regions = _picture(things, stuff, random)
    sure_things = torch.arange(things * rivals)[:THINGS] % things
    unsure_things = torch.randint(things, (THINGS - len(sure_things),), generator=random)
    unsure_stuff = torch.randint(stuff, (STUFF - stuff,), generator=random) + things
    shown = torch.cat([sure_things, unsure_things, torch.arange(stuff) + things, unsure_stuff])
    sure = torch.cat(
        [
            torch.ones(len(sure_things)),
            torch.zeros(len(unsure_things)),
            torch.ones(stuff),
            torch.zeros(STUFF - stuff),
        ]
    )
    chance = torch.rand(THINGS + STUFF, generator=random)
    scores = torch.where(sure > 0, 0.5 + 0.45 * chance, 0.3 * chance**2)
    peaks = torch.where(sure > 0, 1.0, 0.4 + 0.6 * chance)
    noise = 0.15 * torch.randn(len(shown), *CELLS, generator=random)
    masks = (peaks[:, None, None] * (1 + noise) * regions[shown]).clamp(min=0)
    return masks, scores


def _picture(things: int, stuff: int, random: torch.Generator) -> Tensor:
    """(things + stuff, h, w) in 0...1: ellipses in front of regions, with soft edges."""
    height, width = CELLS
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centres = torch.rand(things + stuff, 2, generator=random) * torch.tensor(CELLS)
    distance = (y - centres[:, 0, None, None]) ** 2 + (x - centres[:, 1, None, None]) ** 2
    labels = distance[things:].argmin(0) + things
    radii = 3 + 0.2 * height * torch.rand(things, generator=random) ** 2
    for thing in range(things):
        labels[distance[thing] < radii[thing] ** 2] = thing
    regions = (labels == torch.arange(things + stuff)[:, None, None]).float()
    return F.avg_pool2d(regions, 3, stride=1, padding=1, count_include_pad=False)


def _golden_cases(reference: Path | None) -> list[str]:
    return sorted(file.stem for file in Path(reference).glob(f"{GOLDEN}*.npz")) if reference else []


def _read_golden(path: Path) -> tuple[Tensor, Tensor, MaskWiseMerging]:
    """Candidates of the official implementation, and the thresholds that go with them."""
    with np.load(path) as golden:
        logits = torch.from_numpy(golden["cls_logits"]).flatten().topk(THINGS).values
        scores = torch.cat([logits, torch.from_numpy(golden["stuff_logits"])]).sigmoid()
        masks = np.concatenate([golden["thing_masks"], golden["stuff_masks"]])
        masks = torch.from_numpy(masks).unflatten(-1, golden["hw"].tolist())
        score, _, thing_overlap, stuff_overlap = golden["thr"].tolist()
    rules = MaskWiseMerging(
        score_threshold=score,
        thing_overlap_threshold=thing_overlap,
        stuff_overlap_threshold=stuff_overlap,
    )
    return masks, scores, rules

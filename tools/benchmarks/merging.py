"""Merging, from small masks to the map of ids, against whole masks in a loop.

The loop is what the official codes do: every mask is resized to the whole image, and for every
segment a few numbers are read from the device.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from d2_psformer.modeling.outputs import QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import (
    MaskFormerMerging,
    MaskWiseMerging,
    Placement,
    Postprocessor,
    ResizedMasks,
)

from . import official_steps
from .timing import milliseconds, peak_memory, take_turns

Size = tuple[int, int]

THINGS, STUFF = 100, 53  # candidates
CELLS = (100, 150)  # the size of their masks: an eighth of 800x1200
# name: objects and stuff regions in the picture, candidates for each object
SCENES = {"few segments": (6, 4, 1), "many segments": (40, 15, 1), "rivals": (25, 15, 4)}
RULES = MaskWiseMerging()

QUERIES = 100  # of Mask2Former, whose masks have a quarter of the canvas's size
CANVAS, IMAGE = (800, 1216), (800, 1200)
# those of them that are objects and stuff regions; the others are "no object"
KEPT = {"10 kept": (6, 4), "30 kept": (20, 10), "100 kept": (80, 20)}
MASK2FORMER = Postprocessor(
    MaskFormerMerging(0.8, 0.5, 0.2, 0.2, within_mask=True), tuple(range(80)), num_classes=133
)


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each scene, size and implementation.

    Raises:
        ValueError: the maps of a scene differ.
    """
    torch.set_num_threads(options.threads)
    rows = []
    cases = {("mask-wise", name): partial(mask_wise_calls, *SCENES[name]) for name in SCENES}
    cases |= {("mask2former", name): partial(mask2former_calls, *KEPT[name]) for name in KEPT}
    plan = [(case, size) for case in cases for size in options.sizes]
    for case, size in tqdm(plan, desc="merging", disable=None):
        calls = cases[case](size, options.device)
        rows += compare(calls, dict(zip(("merging", "scene"), case, strict=True)), size, options)
    return rows


def compare(
    calls: dict[str, Callable[[], Tensor]], names: dict, size: Size, options: argparse.Namespace
) -> list[dict]:
    """One row for each of two calls, which return the same id map; the first one is the base."""
    maps = [call() for call in calls.values()]
    if not torch.equal(*maps):
        raise ValueError(f"The maps of '{names['scene']}' differ: one of the mergings is wrong.")
    peaks = {name: peak_memory(call, options.device) for name, call in calls.items()}
    seconds = take_turns(calls, options.rounds, options.device)
    found = {name: milliseconds(seconds[name]) for name in calls}
    base = next(iter(found.values()))["median ms"]
    return [
        {
            **names,
            "size": "x".join(map(str, size)),
            "masks": name,
            **found[name],
            "times faster": base / found[name]["median ms"],
            "segments": int(maps[0].max()),
            "peak MB": None if peaks[name] is None else peaks[name] / 2**20,
        }
        for name in calls
    ]


def mask_wise_calls(
    things: int, stuff: int, rivals: int, size: Size, device: str
) -> dict[str, Callable[[], Tensor]]:
    """Panoptic SegFormer's merging of a scene."""
    inputs = [x.to(device) for x in make_candidates(things, stuff, rivals)]
    return {
        "whole masks": partial(whole_masks, *inputs, size),
        "ours": partial(ours, *inputs, size),
    }


def mask2former_calls(
    things: int, stuff: int, size: Size, device: str
) -> dict[str, Callable[[], Tensor]]:
    """Mask2Former's panoptic results of a scene, from the network's outputs on."""
    logits, masks = (x.to(device) for x in make_queries(things, stuff))
    placement = Placement(CANVAS, IMAGE, size, stride=4)

    def whole() -> Tensor:
        large = official_steps.resize_all(masks, placement)
        rules = {"score_threshold": 0.8, "overlap_threshold": 0.8, "within_mask": True}
        return official_steps.merge(logits, large, MASK2FORMER.thing_ids, **rules)[0]

    outputs = SegmenterOutputs({"queries": QueryOutputs([logits[None]], [masks[None]])})

    def small() -> Tensor:
        return MASK2FORMER(outputs, 0, placement)["panoptic_seg"][0].long()

    return {"whole masks": whole, "ours": small}


def ours(masks: Tensor, scores: Tensor, is_thing: Tensor, size: Size) -> Tensor:
    """The id map (H, W), as the model makes it."""
    resized = ResizedMasks(masks, size)
    kept = RULES.prefilter(resized, scores)
    resized = resized.select(kept)
    id_map, _ = RULES(resized, RULES.score(resized, scores[kept]), is_thing[kept])
    return id_map.long()


def whole_masks(
    masks: Tensor,
    scores: Tensor,
    is_thing: Tensor,
    size: Size,
    rules: MaskWiseMerging = RULES,
) -> Tensor:
    """The same map by float masks (N, H, W) of the whole image."""
    masks = F.interpolate(masks[None].float(), size, mode="bilinear")[0]
    inside = masks > rules.mask_threshold
    quality = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)).float() + 1)
    scores = scores**rules.class_power * quality**rules.mask_power
    id_map = torch.zeros(size, dtype=torch.long, device=masks.device)
    last_id = 0
    for index in scores.argsort(descending=True, stable=True).tolist():
        if scores[index] < rules.score_threshold:
            break
        free = inside[index] & (id_map == 0)
        area, left = inside[index].sum().item(), free.sum().item()
        kind = "thing" if is_thing[index] else "stuff"
        if left == 0 or (area - left) / area > getattr(rules, f"{kind}_overlap_threshold"):
            continue
        last_id += 1
        id_map[free] = last_id
    return id_map


def make_candidates(things: int, stuff: int, rivals: int) -> tuple[Tensor, Tensor, Tensor]:
    """Small masks (153, h, w), class scores (153,) and is_thing (153,) as a trained model has them.

    Every object has ``rivals`` candidates with a high score, every stuff region has one. All other
    candidates have low scores, and their masks show some object faintly.
    """
    random = torch.Generator().manual_seed(things)
    regions = _picture(things, stuff, CELLS, random)
    sure = torch.zeros(THINGS + STUFF, dtype=torch.bool)
    sure[: min(things * rivals, THINGS)] = True
    sure[THINGS : THINGS + stuff] = True
    shown = torch.cat([torch.arange(THINGS) % things, things + torch.arange(STUFF) % stuff])
    chance = torch.rand(THINGS + STUFF, generator=random)
    scores = torch.where(sure, 0.5 + 0.45 * chance, 0.3 * chance**2)
    peaks = torch.where(sure, 1.0, 0.4 + 0.6 * chance)
    noise = 0.15 * torch.randn(THINGS + STUFF, *CELLS, generator=random)
    masks = (peaks[:, None, None] * (1 + noise) * regions[shown]).clamp(min=0)
    return masks, scores, torch.arange(THINGS + STUFF) < THINGS


def make_queries(things: int, stuff: int) -> tuple[Tensor, Tensor]:
    """Class logits (100, 134) and mask logits (100, h, w) as a trained Mask2Former has them."""
    random = torch.Generator().manual_seed(things)
    cells = CANVAS[0] // 4, CANVAS[1] // 4
    masks = torch.randn(QUERIES, *cells, generator=random) - 5
    masks[: things + stuff] += 10 * _picture(things, stuff, cells, random)
    labels = torch.full((QUERIES,), 133)
    labels[: things + stuff] = torch.cat([torch.arange(things) % 80, 80 + torch.arange(stuff)])
    logits = torch.randn(QUERIES, 134, generator=random)
    logits[torch.arange(QUERIES), labels] += 12
    return logits, masks


def _picture(things: int, stuff: int, cells: Size, random: torch.Generator) -> Tensor:
    """(things + stuff, h, w) in 0...1: discs in front of regions, with soft edges."""
    y, x = torch.meshgrid(*map(torch.arange, cells), indexing="ij")
    centres = torch.rand(things + stuff, 2, generator=random) * torch.tensor(cells)
    distance = (y - centres[:, 0, None, None]) ** 2 + (x - centres[:, 1, None, None]) ** 2
    labels = distance[things:].argmin(0) + things
    radii = 3 + 0.2 * cells[0] * torch.rand(things, generator=random) ** 2
    for thing in range(things):
        labels[distance[thing] < radii[thing] ** 2] = thing
    regions = (labels == torch.arange(things + stuff)[:, None, None]).float()
    return F.avg_pool2d(regions, 3, stride=1, padding=1, count_include_pad=False)

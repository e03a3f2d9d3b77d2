"""Mask-wise merging, from small masks to the map of ids, against whole masks in a loop.

The loop is what the official code does: every mask is resized to the whole image, and for every
segment two numbers are read from the device.
"""

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from d2_psformer.modeling.merging import MaskWiseMerging
from d2_psformer.modeling.resized_masks import ResizedMasks
from torch import Tensor
from tqdm import tqdm

from .timing import milliseconds, peak_memory, take_turns

THINGS, STUFF = 100, 53  # candidates
CELLS = (100, 150)  # the size of their masks: an eighth of 800x1200
# name: objects and stuff regions in the picture, candidates for each object
SCENES = {"few segments": (6, 4, 1), "many segments": (40, 15, 1), "rivals": (25, 15, 4)}
RULES = MaskWiseMerging()


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each scene, size and implementation.

    Raises:
        ValueError: the maps of a scene differ.
    """
    torch.set_num_threads(options.threads)
    rows = []
    plan = [(scene, size) for scene in SCENES for size in options.sizes]
    for scene, size in tqdm(plan, desc="merging", disable=None):
        inputs = [x.to(options.device) for x in make_candidates(*SCENES[scene])]
        calls = {
            "whole masks": partial(whole_masks, *inputs, size),
            "ours": partial(ours, *inputs, size),
        }
        id_map, winners = calls["whole masks"]()
        if not torch.equal(calls["ours"](), id_map):
            raise ValueError(f"The maps of '{scene}' differ: one of the mergings is wrong.")
        peaks = {name: peak_memory(call, options.device) for name, call in calls.items()}
        seconds = take_turns(calls, options.rounds, options.device)
        base = milliseconds(seconds["whole masks"])["median ms"]
        for name in calls:
            row = {"scene": scene, "size": "x".join(map(str, size)), "masks": name}
            found = milliseconds(seconds[name])
            row |= {
                **found,
                "times faster": base / found["median ms"],
                "segments": len(winners),
            }
            rows.append({**row, "peak MB": None if peaks[name] is None else peaks[name] / 2**20})
    return rows


def ours(masks: Tensor, scores: Tensor, is_thing: Tensor, size: tuple[int, int]) -> Tensor:
    """The id map (H, W), as the model makes it."""
    chosen = RULES.may_stay(masks, scores).nonzero().flatten()
    large = ResizedMasks(masks[chosen], size)
    id_map, _ = RULES(large, RULES.score(large, scores[chosen]), is_thing[chosen])
    return id_map.long()


def whole_masks(
    masks: Tensor,
    scores: Tensor,
    is_thing: Tensor,
    size: tuple[int, int],
    rules: MaskWiseMerging = RULES,
) -> tuple[Tensor, list[int]]:
    """The same map by float masks (N, H, W) of the whole image, and the candidate of every id."""
    masks = F.interpolate(masks[None].float(), size, mode="bilinear")[0]
    inside = masks > rules.mask_threshold
    quality = (masks * inside).sum((1, 2)) / (inside.sum((1, 2)).float() + 1)
    scores = scores**rules.class_power * quality**rules.mask_power
    id_map = torch.zeros(size, dtype=torch.long, device=masks.device)
    winners: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if scores[index] < rules.score_threshold:
            break
        free = inside[index] & (id_map == 0)
        area, left = inside[index].sum().item(), free.sum().item()
        kind = "thing" if is_thing[index] else "stuff"
        if left == 0 or (area - left) / area > getattr(rules, f"{kind}_overlap_threshold"):
            continue
        winners.append(index)
        id_map[free] = len(winners)
    return id_map, winners


def make_candidates(things: int, stuff: int, rivals: int) -> tuple[Tensor, Tensor, Tensor]:
    """Small masks (153, h, w), class scores (153,) and is_thing (153,) as a trained model has them.

    Every object has ``rivals`` candidates with a high score, every stuff region has one. All other
    candidates have low scores, and their masks show some object faintly.
    """
    random = torch.Generator().manual_seed(things)
    regions = _picture(things, stuff, random)
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


def _picture(things: int, stuff: int, random: torch.Generator) -> Tensor:
    """(things + stuff, h, w) in 0...1: discs in front of regions, with soft edges."""
    y, x = torch.meshgrid(*map(torch.arange, CELLS), indexing="ij")
    centres = torch.rand(things + stuff, 2, generator=random) * torch.tensor(CELLS)
    distance = (y - centres[:, 0, None, None]) ** 2 + (x - centres[:, 1, None, None]) ** 2
    labels = distance[things:].argmin(0) + things
    radii = 3 + 0.2 * CELLS[0] * torch.rand(things, generator=random) ** 2
    for thing in range(things):
        labels[distance[thing] < radii[thing] ** 2] = thing
    regions = (labels == torch.arange(things + stuff)[:, None, None]).float()
    return F.avg_pool2d(regions, 3, stride=1, padding=1, count_include_pad=False)

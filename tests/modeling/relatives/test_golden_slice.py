"""A part of the golden numbers, which lies here: networks, results, matches, losses of one image.

It is laid out like the whole reference: numbers of the official code with weights by name. Who has
no reference can check the claim of equality by it.
"""

import json
from pathlib import Path

import pytest
import torch
from golden_relatives import GoldenRelatives, assert_near
from test_golden_losses_of_relatives import assert_losses, losses_of
from test_golden_networks import LOW_THRESHOLDS, Run, results


@pytest.fixture(scope="module")
def part() -> GoldenRelatives:
    return GoldenRelatives(Path(__file__).with_name("slice"))


@pytest.fixture(scope="module", params=["maskformer_r50_panoptic", "mask2former_r50_panoptic"])
def run(request, part) -> Run:
    return Run(part, request.param, "single")


def test_classes_and_masks(run):
    queries = run.outputs.queries["queries"]
    assert_near(queries.logits[-1], run.golden["pred_logits"])
    assert_near(queries.masks[-1][:, ::10], run.golden["pred_masks"])


def test_results(run, part):
    (result,) = results(run, part, **LOW_THRESHOLDS)
    ids, segments = result["panoptic_seg"]
    assert (ids.numpy() != run.golden["img0/panoptic_low"]).mean() < 1e-3
    official = json.loads(str(run.golden["img0/segments_info_low"]))
    assert official, "nothing was proved"
    assert [s["category_id"] for s in segments] == [s["category_id"] for s in official]
    classes = result["sem_seg"].argmax(0).numpy()
    assert (classes != run.golden["img0/sem_seg_argmax"]).mean() < 1e-3


@torch.no_grad()
def test_matches_and_losses(run, part):
    _, losses = losses_of(part, run.case, "single")
    arrays = part.arrays(f"{run.case}_loss_single")
    assert_losses(losses, {k[5:]: float(v) for k, v in arrays.items() if k.startswith("loss/loss")})

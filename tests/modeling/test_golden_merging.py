"""Crafted candidates of up to seven segments: the merged map must be the official one, exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from d2_psformer.modeling.postprocessing import MaskWiseMerging, Postprocessor, ResizedMasks
from d2_psformer.modeling.postprocessing.predictions import MaskPredictions

COCO = {"thing_ids": tuple(range(80)), "num_classes": 133}


@pytest.fixture(scope="module", params=[0, 1, 2])
def case(request, reference, arrays):
    golden = arrays(reference / f"merge_case{request.param}.npz")
    thing_scores, pairs = torch.from_numpy(golden["cls_logits"]).sigmoid().flatten().topk(100)
    stuff_scores = torch.from_numpy(golden["stuff_logits"]).sigmoid()
    masks = np.concatenate([golden["thing_masks"], golden["stuff_masks"]])
    masks = torch.from_numpy(masks).unflatten(-1, golden["hw"].tolist())
    candidates = MaskPredictions(
        masks=ResizedMasks(masks, golden["ori_shape"][:2].tolist()),
        scores=torch.cat([thing_scores, stuff_scores]),
        classes=torch.cat([pairs % 80, torch.arange(80, 133)]),
        is_thing=torch.arange(153) < 100,
        queries=torch.cat([pairs // 80, torch.arange(53)]),
    )
    score, stuff_score, thing_overlap, stuff_overlap = golden["thr"].tolist()
    assert score == stuff_score
    merging = MaskWiseMerging(
        score_threshold=score,
        thing_overlap_threshold=thing_overlap,
        stuff_overlap_threshold=stuff_overlap,
    )
    return SimpleNamespace(golden=golden, candidates=candidates, merging=merging, pairs=pairs)


def test_panoptic_map(case, golden_inputs):
    output = Postprocessor(case.merging, **COCO).results(case.candidates)
    ours = golden_inputs.official_map(*output["panoptic_seg"])
    assert np.array_equal(ours, case.golden["panoptic"])


def test_best_pairs(case):
    assert np.array_equal(case.pairs // 80, case.golden["top_index"])
    assert np.array_equal(case.pairs % 80, case.golden["top_labels"])


def areas(case, threshold: float) -> torch.Tensor:
    """Pixels of every mask above a threshold: (153,)."""
    found = torch.zeros(153, dtype=torch.long)
    for index, mask in case.candidates.masks.above(threshold).items():
        found[index] = mask.area
    return found


def rounding(case, order) -> torch.Tensor:
    """What the scores of these masks may differ by: PyTorch versions round resized masks otherwise.

    A pixel may lie on the other side of the threshold then, and change the mean that is squared.
    """
    ours = areas(case, 0.5)[order]
    golden = torch.from_numpy(case.golden["final_seg_area"])[: len(order)]
    return 1e-6 + 2 * (ours - golden).abs() / ours.clamp(min=1)


def test_things_by_score(case):
    scores = case.merging.score(case.candidates.masks, case.candidates.scores)
    things, order = scores[:100].sort(descending=True)
    golden = torch.from_numpy(case.golden["final_boxes"][:, 4])
    assert ((things - golden).abs() <= rounding(case, order) + 1e-5 * golden).all()
    # masks below the threshold everywhere all score 0, in any order
    real = golden > 0
    assert np.array_equal(case.candidates.classes[order][real], case.golden["final_labels"][real])
    golden_areas = torch.from_numpy(case.golden["final_seg_area"])
    assert (areas(case, 0.5 + 1e-6)[order] <= golden_areas).all()
    assert (areas(case, 0.5 - 1e-6)[order] >= golden_areas).all()


def test_instances_keep_the_best_things(case):
    postprocessor = Postprocessor(case.merging, **COCO, panoptic=False, instances=True)
    output = postprocessor.results(case.candidates)
    instances = output["instances"]
    golden = torch.from_numpy(case.golden["final_boxes"][:, 4])
    golden = golden[torch.from_numpy(case.golden["final_seg_area"]) > 0].clamp(max=1)
    scores = case.merging.score(case.candidates.masks, case.candidates.scores)
    order = scores[:100].argsort(descending=True)[: len(golden)]
    difference = instances.scores.sort(descending=True).values - golden
    assert (difference.abs() <= rounding(case, order) + 1e-5 * golden).all()

"""Crafted logits: results must be those of the official MaskFormer and Mask2Former."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from d2_psformer.modeling.outputs import QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import MaskFormerMerging, Placement, Postprocessor

THINGS = tuple(range(80))
CASES = [f"{name}_{case}" for name in ("maskformer", "mask2former") for case in (0, 1, 2)]
KEYS = ("id", "isthing", "category_id")


@pytest.fixture(scope="module", params=CASES)
def case(request, reference_relatives, arrays):
    golden = arrays(reference_relatives / f"merge_{request.param}.npz")
    logits, masks = (torch.from_numpy(golden[k]).float() for k in ("mask_cls", "mask_pred"))
    size = tuple(masks.shape[1:])
    return SimpleNamespace(
        golden=golden,
        outputs=SegmenterOutputs({"queries": QueryOutputs([logits[None]], [masks[None]])}),
        placement=Placement(size, size, size, stride=1),
        within_mask=request.param.startswith("mask2former"),
        num_classes=logits.shape[1] - 1,
    )


def results(case, thresholds=(0.8, 0.8), **kinds) -> dict:
    score, kept_share = thresholds
    lost = 1 - kept_share
    merging = MaskFormerMerging(score, 0.5, lost, lost, within_mask=case.within_mask)
    postprocessor = Postprocessor(merging, THINGS, case.num_classes, **kinds)
    return postprocessor(case.outputs, 0, case.placement)


def test_panoptic(case):
    for place, thresholds in enumerate(case.golden["thresholds_object_overlap"].tolist()):
        id_map, segments_info = results(case, thresholds)["panoptic_seg"]
        assert np.array_equal(id_map, case.golden[f"panoptic/{place}"])
        found = [{key: segment[key] for key in KEYS} for segment in segments_info]
        assert found == json.loads(str(case.golden[f"segments_info/{place}"]))


@pytest.mark.parametrize("panoptic", [True, False])
def test_semantic(case, panoptic):
    semantic = results(case, panoptic=panoptic, semantic=True)["sem_seg"]
    golden = torch.from_numpy(case.golden["sem_seg"])
    torch.testing.assert_close(semantic[::12, ::2, ::2], golden, rtol=1e-5, atol=1e-6)
    assert np.array_equal(semantic.argmax(0), case.golden["sem_seg_argmax"])


@pytest.mark.parametrize(
    ("name", "panoptic"), [("inst_things_only", True), ("inst_all_classes", False)]
)
def test_instances(case, name, panoptic):
    if not case.within_mask:
        pytest.skip("MaskFormer has no instances")
    scores, classes, areas = (case.golden[f"{name}/{k}"] for k in ("scores", "classes", "areas"))
    kinds = {"panoptic": panoptic, "instances": True}
    official = results(case, **kinds, official_instances=True)["instances"]
    assert not official.pred_boxes.tensor.any()
    ours = results(case, **kinds)["instances"]
    for instances, kept in ((official, areas >= 0), (ours, areas > 0)):
        golden = torch.from_numpy(scores[kept])
        torch.testing.assert_close(instances.scores, golden, rtol=1e-5, atol=1e-7)
        assert np.array_equal(instances.pred_classes, classes[kept])
        assert np.array_equal(instances.pred_masks.flatten(1).sum(1), areas[kept])

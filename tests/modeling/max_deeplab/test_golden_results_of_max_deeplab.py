"""deeplab2's "pixelwise" results: the same map up to the numbers, the same classes of pixels."""

import json

import numpy as np
import pytest
import torch
from small_models import check_results
from torch import Tensor

from d2_psformer.modeling.outputs import SOFTMAX, QueryOutputs, SegmenterOutputs
from d2_psformer.modeling.postprocessing import (
    MaXDeepLabMerging,
    MaXDeepLabPostprocessor,
    Placement,
)


class Case:
    """One case of ``postprocess_cases.npz``, a batch of images, and our results of it."""

    def __init__(self, arrays: dict[str, np.ndarray], name: str):
        self.name, self.arrays = name, arrays
        self.config = config = json.loads(str(arrays[f"{name}/config"]))
        void, things = config["void_label"], config["thing_class_ids"]
        stuff = [x for x in range(config["num_classes"]) if x != void and x not in things]
        self.category_ids = torch.tensor([*things, *stuff])  # by our ids
        self.thing_ids = tuple(range(len(things)))

    def golden(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[f"{self.name}/{key}"])

    def results(self, image: int) -> dict:
        config = self.config
        merging = MaXDeepLabMerging(
            config["transformer_class_confidence_threshold"],
            config["pixel_confidence_threshold"],
            config["thing_area_limit"],
            config["stuff_area_limit"],
        )
        masks = self.golden("mask_logits").float().permute(0, 3, 1, 2)
        outputs = QueryOutputs([self.golden("class_logits")], [masks], mask_kind=SOFTMAX)
        size = tuple(config["image_shape"])
        classes = self.thing_ids, len(self.category_ids)
        postprocessor = MaXDeepLabPostprocessor(merging, *classes, semantic=True, instances=True)
        placement = Placement(size, size, size, stride=4, aligned_corners=True)
        return postprocessor(SegmenterOutputs({"queries": outputs}), image, placement)

    def official_map(self, id_map: Tensor, segments_info: list[dict]) -> Tensor:
        """Our panoptic result with deeplab2's numbers."""
        divisor = self.config["label_divisor"]
        official = torch.full_like(id_map, self.config["void_label"] * divisor)
        for segment in segments_info:
            number = divisor * int(self.category_ids[segment["category_id"]])
            number += segment["isthing"] * (segment["query"] + 1)
            official[id_map == segment["id"]] = number
        return official


@pytest.fixture(scope="module")
def cases(reference_max_deeplab) -> list[Case]:
    with np.load(reference_max_deeplab / "postprocess_cases.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    return [Case(arrays, name) for name in sorted({key.split("/")[0] for key in arrays})]


def certain(case: Case, image: int) -> Tensor:
    """(H, W) bool: where rounding cannot change the decision; everywhere, if no query is kept."""
    fragile = case.golden("fragile")[image]
    return torch.ones_like(fragile) if fragile.all() else ~fragile


def test_golden_panoptic_maps(cases):
    kinds = set()
    for case in cases:
        for image, expected in enumerate(case.golden("panoptic")):
            id_map, segments_info = case.results(image)["panoptic_seg"]
            found = case.official_map(id_map, segments_info)
            compared = certain(case, image)
            assert torch.equal(found[compared], expected[compared]), f"{case.name}, image {image}"
            kinds |= {segment["isthing"] for segment in segments_info}
    assert kinds == {True, False}


def test_golden_classes_of_pixels(cases):
    """The class of the pixel's best query, whatever its score."""
    for case in cases:
        for image, expected in enumerate(case.golden("semantic_no_threshold")):
            found = case.category_ids[case.results(image)["sem_seg"].argmax(0)]
            compared = certain(case, image)
            assert torch.equal(found[compared], expected.long()[compared]), case.name


def test_golden_results_of_the_whole_network(reference_max_deeplab):
    """COCO and the options of its configs, from the reference's outputs on."""
    with np.load(reference_max_deeplab / "max_deeplab_s_real_width.npz") as archive:
        arrays = {key: archive[key] for key in archive.files if key.startswith(("out/", "post/"))}
    config = {
        "num_classes": arrays["out/transformer_class_logits"].shape[2],
        "void_label": 0,
        "thing_class_ids": list(range(1, 81)),
        "label_divisor": 256,
        "transformer_class_confidence_threshold": 0.7,
        "pixel_confidence_threshold": 0.4,
        "thing_area_limit": 100,
        "stuff_area_limit": 1600,
        "image_shape": arrays["post/panoptic"].shape[1:],
    }
    case = Case(
        {
            "network/config": json.dumps(config),
            "network/mask_logits": arrays["out/pixel_space_mask_logits"],
            "network/class_logits": arrays["out/transformer_class_logits"],
        },
        "network",
    )
    found = case.results(0)
    panoptic = case.official_map(*found["panoptic_seg"]).numpy()
    semantic = case.category_ids[found["sem_seg"].argmax(0)].numpy()
    # rounding can change the decision of a pixel
    assert (panoptic == arrays["post/panoptic"][0]).mean() > 0.999
    assert (semantic == arrays["post/semantic"][0]).mean() > 0.999


def test_golden_cases_have_results_in_the_shared_form(cases):
    for case in cases:
        size = tuple(case.config["image_shape"])
        check_results(case.results(0), size, case.thing_ids, len(case.category_ids))

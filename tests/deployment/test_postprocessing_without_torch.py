"""Postprocessing in NumPy gives the results of the model's own, on the same network outputs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import (
    EVERY_ARCHITECTURE,
    INFERENCE,
    MAX_DEEPLAB,
    VARIANTS,
    fill_by_rule,
    image,
    small_config,
    small_model,
    tiny_model,
)

from d2_psformer import deployment
from d2_psformer.deployment.masks import Placement
from d2_psformer.deployment.postprocessing import Result, postprocess
from d2_psformer.export.network import ExportedNetwork, named_outputs
from d2_psformer.export.settings import deployment_settings

# Sides of the image, sides of the result.
SIZES = [((96, 128), (96, 128)), ((75, 90), (150, 181)), ((130, 70), (65, 33))]
MERGINGS = {
    "psformer, pixel argmax": INFERENCE["pixel argmax"],
    "psformer, maskformer merging": INFERENCE["maskformer merging"],
    "maskformer, mask_wise": VARIANTS["maskformer"] | {"MODEL.POSTPROCESSING.MERGING": "mask_wise"},
    "mask2former, pixel argmax": VARIANTS["mask2former"]
    | {"MODEL.POSTPROCESSING.MERGING": "pixel_argmax"},
    "max-deeplab, limits": MAX_DEEPLAB
    | {"MODEL.POSTPROCESSING.THING_AREA_LIMIT": 900, "MODEL.POSTPROCESSING.STUFF_AREA_LIMIT": 300},
}
CASES = {name: VARIANTS[name] for name in EVERY_ARCHITECTURE} | MERGINGS


class Both:
    """The model's results and ours, from the same outputs of its network."""

    def __init__(self, options: dict):
        overrides = {"MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.01, **options}
        overrides["MODEL.POSTPROCESSING.SEMANTIC_ON"] = True
        if options.get("MODEL.META_ARCHITECTURE") == "MaXDeepLab":
            self.model = fill_by_rule(small_model(**overrides)).eval()
        else:
            self.model = tiny_model(**overrides).eval()
        categories, cfg = self.model.classes.categories(), small_config(**overrides)
        settings = deployment_settings(cfg, ExportedNetwork(self.model), categories, None)
        self.settings = json.loads(json.dumps(settings))

    @torch.no_grad()
    def run(self, size: tuple[int, int], output: tuple[int, int]) -> tuple[dict, Result]:
        model, given = (
            self.model,
            [{"image": image(*size), "height": output[0], "width": output[1]}],
        )
        batch = model.normalizer([given[0]["image"]])
        outputs = model.predict(batch.tensor, batch.padding)
        (expected,) = model.postprocess(outputs, batch, given)
        arrays = {name: value[0].numpy() for name, value in named_outputs(outputs).items()}
        canvas = tuple(batch.tensor.shape[-2:])
        placement = Placement(canvas, size, output, model.mask_stride, model.aligned_corners)
        return expected, postprocess(self.settings, arrays, placement)


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_the_model(name):
    both = Both(CASES[name])
    for size, output in SIZES:
        check(*both.run(size, output), output)


def check(expected: dict, found: Result, output: tuple[int, int]) -> None:
    semantic = expected["sem_seg"].numpy()
    assert found.semantic.shape == semantic.shape and found.semantic.dtype == np.float32
    largest = abs(semantic).max()
    np.testing.assert_allclose(found.semantic, semantic, rtol=1e-3, atol=1e-5 * largest)
    if "panoptic_seg" not in expected:
        assert found.panoptic is None
        return
    ids, segments = expected["panoptic_seg"]
    assert found.panoptic.shape == output and found.panoptic.dtype == np.int32
    # rounding decides where two masks are equally high
    assert (found.panoptic != ids.numpy()).mean() < 1e-3
    assert len(found.segments) == len(segments) > 0
    for ours, theirs in zip(found.segments, segments, strict=True):
        assert ours["class_index"] == theirs["category_id"]
        assert ours["category_id"] == 10 + theirs["category_id"]  # the data set's
        assert ours["isthing"] is theirs["isthing"] and ours["id"] == theirs["id"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4)
        pixels = found.panoptic == ours["id"]
        assert ours["area"] == pixels.sum()
        x0, y0, x1, y1 = ours["box"]
        assert pixels[y0:y1, x0:x1].sum() == ours["area"]
        assert pixels[y0].any() and pixels[y1 - 1].any()
        assert pixels[:, x0].any() and pixels[:, x1 - 1].any()


def test_semantic_results_alone_are_summed_up_on_the_canvas():
    both = Both(VARIANTS["maskformer"] | {"MODEL.POSTPROCESSING.PANOPTIC_ON": False})
    expected, found = both.run(*SIZES[1])
    np.testing.assert_allclose(found.semantic, expected["sem_seg"], rtol=1e-4, atol=1e-5)


def test_the_module_needs_neither_torch_nor_the_package(tmp_path):
    """Copied out of the package it is imported with NumPy and Pillow alone."""
    shutil.copytree(Path(deployment.__file__).parent, tmp_path / "deployment")
    code = (
        "import sys, deployment.model, deployment.__main__\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print({'torch', 'd2_psformer', 'scipy', 'cv2', 'onnxruntime'} & roots)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "set()\n", done.stderr

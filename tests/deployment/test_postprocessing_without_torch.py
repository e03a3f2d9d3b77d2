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
from d2_psformer.deployment.postprocessing import Postprocessor
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
    "max-deeplab, mask_wise": MAX_DEEPLAB
    | {"MODEL.POSTPROCESSING.MERGING": "mask_wise", "MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.0},
}
CASES = {name: VARIANTS[name] for name in EVERY_ARCHITECTURE} | MERGINGS


class Both:
    """The model's results of one image, ours, and what both are made from."""

    def __init__(self, options: dict, size: tuple[int, int], output: tuple[int, int]):
        overrides = {"MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.01, **options}
        overrides["MODEL.POSTPROCESSING.SEMANTIC_ON"] = True
        if options.get("MODEL.META_ARCHITECTURE") == "MaXDeepLab":
            model = fill_by_rule(small_model(**overrides))
        else:
            model = tiny_model(**overrides)
        model.eval()
        categories = model.classes.categories()
        cfg = small_config(**overrides)
        settings = deployment_settings(cfg, ExportedNetwork(model), categories, None)
        self.settings = json.loads(json.dumps(settings))
        given = [{"image": image(*size), "height": output[0], "width": output[1]}]
        with torch.no_grad():
            batch = model.normalizer([given[0]["image"]])
            outputs = model.predict(batch.tensor, batch.padding)
            (self.expected,) = model.postprocess(outputs, batch, given)
        arrays = {name: value[0].numpy() for name, value in named_outputs(outputs).items()}
        canvas, stride = tuple(batch.tensor.shape[-2:]), model.mask_stride
        placement = Placement(canvas, size, output, stride, model.aligned_corners)
        processor = Postprocessor(self.settings)
        if self.settings["panoptic"]:
            self.ids, self.segments = processor.panoptic(arrays, placement)
        self.semantic = processor.semantic(arrays, placement)


@pytest.mark.parametrize(("size", "output"), SIZES)
@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_the_model(name, size, output):
    both = Both(CASES[name], size, output)
    expected = both.expected["sem_seg"].numpy()
    assert both.semantic.shape == expected.shape and both.semantic.dtype == np.float32
    np.testing.assert_allclose(both.semantic, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
    if "panoptic_seg" not in both.expected:
        return
    ids, segments = both.expected["panoptic_seg"]
    assert both.ids.shape == output and both.ids.dtype == np.int32
    assert (both.ids != ids.numpy()).mean() < 1e-3  # rounding, where two masks are equally high
    assert len(both.segments) == len(segments) > 0
    for ours, theirs in zip(both.segments, segments, strict=True):
        assert ours["class_index"] == theirs["category_id"]
        assert ours["category_id"] == 10 + theirs["category_id"]  # the data set's
        assert ours["isthing"] is theirs["isthing"] and ours["id"] == theirs["id"]
        assert ours["score"] == pytest.approx(theirs["score"], rel=1e-4)
        pixels = both.ids == ours["id"]
        assert ours["area"] == pixels.sum()
        x0, y0, x1, y1 = ours["box"]
        assert pixels[y0:y1, x0:x1].sum() == ours["area"]
        assert pixels[y0].any() and pixels[y1 - 1].any()
        assert pixels[:, x0].any() and pixels[:, x1 - 1].any()


def test_semantic_results_alone_are_summed_up_on_the_canvas():
    options = VARIANTS["maskformer"] | {"MODEL.POSTPROCESSING.PANOPTIC_ON": False}
    both = Both(options, *SIZES[1])
    np.testing.assert_allclose(both.semantic, both.expected["sem_seg"], rtol=1e-4, atol=1e-5)


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

"""Every stage of the networks and their results against the official code's numbers."""

import json

import numpy as np
import pytest
import torch
from golden_relatives import CASES, assert_near

LOW_THRESHOLDS = {
    "MODEL__POSTPROCESSING__SCORE_THRESHOLD": 0.2,
    "MODEL__POSTPROCESSING__THING_OVERLAP_THRESHOLD": 0.8,
    "MODEL__POSTPROCESSING__STUFF_OVERLAP_THRESHOLD": 0.8,
}


class Run:
    """Our outputs of one case: both images as a batch, or the first one alone."""

    def __init__(self, golden, case: str, kind: str):
        self.case, self.kind = case, kind
        self.golden = golden.arrays(f"{case}_infer_{kind}")
        self.count = 2 if kind == "batch" else 1
        model = self.model = golden.model(case)
        self.samples = [golden.sample(i, "panoptic") for i in range(self.count)]
        with torch.no_grad():
            self.images = model.normalizer([x["image"] for x in self.samples])
            self.backbone = model.backbone(self.images.tensor)
            if case != "perpixel_r50":
                self.features = model.pixel_decoder(self.backbone)
                self.layers = model.transformer_decoder(self.features, every_layer=True)
            self.outputs = model.predict(self.images.tensor, self.images.padding)

    def near(self, name: str, ours: torch.Tensor, *steps: int) -> None:
        """Compare every n-th value along each dimension, and the sums over all of them."""
        assert_near(ours[tuple(slice(None, None, n) for n in steps)], self.golden[name])
        if f"stats/{name}" in self.golden:
            x, expected = ours.double(), self.golden[f"stats/{name}"]
            sums = [x.mean(), x.std(correction=0), x.abs().sum(), x.min(), x.max()]
            scale = np.abs(expected[3:]).max()
            for ours_sum, official, size in zip(
                sums, expected, [scale, scale, expected[2], scale, scale], strict=True
            ):
                assert abs(float(ours_sum) - official) <= 1e-4 * size


@pytest.fixture(
    scope="module", params=[(c, k) for c in CASES for k in ("batch", "single")], ids=str
)
def run(request, golden):
    return Run(golden, *request.param)


def test_backbone(run):
    for name, feature in run.backbone.items():
        steps = (1, feature.shape[1] // 8, 2, 2) if name == "res2" else (1, feature.shape[1] // 8)
        run.near(f"backbone/{name}", feature, *steps)


def test_pixel_decoder(run):
    if run.case == "perpixel_r50":
        pytest.skip("it has an FPN alone")
    run.near("mask_features", run.features.mask_features, 1, 16 if run.kind == "batch" else 32)
    shapes = run.features.spatial_shapes
    tokens = run.features.tokens.split([h * w for h, w in shapes], dim=1)
    maps = [x.mT.unflatten(2, s) for x, s in zip(tokens, shapes, strict=True)][::-1]
    if "encoder_features" in run.golden:
        run.near("encoder_features", maps[0], 1, 16)
    for i in range(len(maps)):
        if f"multi_scale/{i}" in run.golden:
            run.near(f"multi_scale/{i}", maps[i], 1, 16)


def test_classes_and_masks_of_every_layer(run):
    masks_step = 5 if run.kind == "batch" else 10
    if run.case == "perpixel_r50":
        return run.near("pred", run.outputs.pixel_logits[-1], 1, 10)
    if run.case == "perpixelplus_r50":
        run.near("pred_masks", run.outputs.pixel_logits[-1], 1, masks_step)
    else:
        queries = run.outputs.queries["queries"]
        assert len(queries.logits) == len(queries.masks) == 1, "the last layer alone"
        run.near("pred_logits", queries.logits[-1])
        run.near("pred_masks", queries.masks[-1], 1, masks_step)
    earlier = len(run.layers.masks) - 1
    assert f"aux/{earlier - 1}/pred_masks" in run.golden
    assert f"aux/{earlier}/pred_masks" not in run.golden
    for i in range(earlier):
        run.near(f"aux/{i}/pred_masks", run.layers.masks[i], 1, 20, 2, 2)
        if run.layers.logits:
            run.near(f"aux/{i}/pred_logits", run.layers.logits[i], 1, 5, 7)


def results(run, golden, **options) -> list[dict]:
    """Our results by a model with other settings of postprocessing."""
    model = golden.model(run.case, **options)
    return model.postprocess(run.outputs, run.images, run.samples)


def test_class_map(run, golden):
    if "img0/sem_seg" not in run.golden:
        pytest.skip("it makes instances alone")
    for i, result in enumerate(results(run, golden)):
        assert_near(result["sem_seg"][::19, ::4, ::4], run.golden[f"img{i}/sem_seg"])
        classes = result["sem_seg"].argmax(0).numpy()
        assert (classes != run.golden[f"img{i}/sem_seg_argmax"]).mean() < 1e-3


@pytest.mark.parametrize("suffix", ["", "_low"])
def test_panoptic_map(run, golden, suffix):
    if f"img0/panoptic{suffix}" not in run.golden:
        pytest.skip("it makes no panoptic map")
    for i, result in enumerate(results(run, golden, **(LOW_THRESHOLDS if suffix else {}))):
        ids, segments = result["panoptic_seg"]
        assert (ids.numpy() != run.golden[f"img{i}/panoptic{suffix}"]).mean() < 1e-3
        official = json.loads(str(run.golden[f"img{i}/segments_info{suffix}"]))
        ours = [{key: s[key] for key in ("id", "isthing", "category_id")} for s in segments]
        assert ours == official


def test_instances(run, golden):
    if "img0/inst_scores" not in run.golden:
        pytest.skip("it makes no instances")
    model = golden.model(run.case)
    for i, result in enumerate(model.postprocess(run.outputs, run.images, run.samples)):
        instances = result["instances"]
        scores = run.golden[f"img{i}/inst_scores"]
        full = run.golden[f"img{i}/inst_areas"] > 0  # ours leaves out those without a pixel
        assert len(instances) == full.sum()
        # class logits differ by 4e-5 of their maximum between float32 and float64 already
        assert np.abs(instances.scores.numpy() - scores[full]).max() <= 2e-4
        # equal scores may come in any order
        official = sorted(run.golden[f"img{i}/inst_classes"][full].tolist())
        assert sorted(instances.pred_classes.tolist()) == official
        areas = instances.pred_masks.flatten(1).sum(1).sort().values.numpy()
        official = np.sort(run.golden[f"img{i}/inst_areas"][full])
        assert (np.abs(areas - official) <= 1e-3 * official + 1).all()
        boxes = instances.pred_boxes.tensor
        assert (boxes[:, 2:] > boxes[:, :2]).all()

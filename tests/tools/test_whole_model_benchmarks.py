"""Inference and training benchmarks run end to end, on a tiny model."""

import argparse

import pytest
import torch
from benchmarks import contestants, inference, mask2former, sweep, training
from benchmarks.confident_weights import SURE_STUFF, SURE_THINGS
from benchmarks.inputs import image_sample, segment_labels, training_sample
from benchmarks.models import build_config, build_our_model, size_of
from benchmarks.official_shares import official_shares
from benchmarks.same_result import difference
from benchmarks.stages import StageClock, stages_in_turns
from tiny_benchmarks import tiny_options

from d2_psformer.classes import Classes

COCO = Classes(tuple(range(80)), tuple(range(80, 133)))


def test_inference(capsys):
    arguments = ["--cases", "96x128:64x96", "--dtype", "bfloat16", "--no-peer", "--no-memory"]
    rows = inference.measure(tiny_options(inference, *arguments))
    names = ["plain", "ours", "ours, bfloat16"]
    assert [row["contestant"] for row in rows if row["stage"] == "total"] == names
    for name in names:
        mine = {row["stage"]: row for row in rows if row["contestant"] == name}
        assert list(mine) == list(contestants.STAGES)
        *stages, total = (mine[stage]["ms"] for stage in mine)
        assert sum(stages) == pytest.approx(total)
        assert min(stages) > 0
    ours = next(row for row in rows if row["contestant"] == "ours")
    assert ours["same segments"]
    assert "96x128 to 64x96, 1 threads" in capsys.readouterr().out


def test_inference_refuses_other_segments(monkeypatch):
    found = {"same segments": True, "differing pixels": 0.002}
    monkeypatch.setattr(inference, "difference", lambda *results: found)
    arguments = ["--cases", "96x128:64x96", "--no-peer", "--no-memory"]
    with pytest.raises(RuntimeError, match=r"different segments at 96x128: 0.20% of the pixels"):
        inference.measure(tiny_options(inference, *arguments))


def test_sweep(monkeypatch):
    monkeypatch.setattr(sweep, "SIZE", (64, 96))
    values = {"size": [(64, 96), (96, 128)], "queries": [20, 30], "batch": [1, 2]}
    monkeypatch.setattr(sweep, "SWEEPS", values)
    rows = inference.measure(tiny_options(inference, "--sweep", "size", "queries", "batch"))
    assert [row["size"] for row in rows[:2]] == ["64x96", "96x128"]
    assert [row["queries"] for row in rows[2:4]] == [20, 30]
    assert [row["batch"] for row in rows[4:]] == [1, 2]
    assert rows[5]["ms per megapixel"] == pytest.approx(1e6 * rows[5]["total, ms"] / (2 * 64 * 96))


def test_training():
    arguments = ["--size", "96x128", "--things", "3", "--stuff", "2", "--batch", "2"]
    rows = training.measure(tiny_options(training, *arguments, "--no-peer", "--no-memory"))
    totals = [row for row in rows if row["stage"] == "total"]
    assert [row["contestant"] for row in totals] == [
        "plain",
        "ours",
        "ours, 2 images at once",
        "ours, 2 images one by one",
    ]
    for total in totals:
        stages = [row for row in rows if row["contestant"] == total["contestant"]]
        assert [row["stage"] for row in stages] == list(training.STAGES)
        assert sum(row["share"] for row in stages) == pytest.approx(2)  # the total is one of them


def test_transformers_mask2former():
    tiny = {
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_dim": 32,
        "encoder_feedforward_dim": 16,
        "dim_feedforward": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "num_attention_heads": 2,
        "num_queries": 40,
    }
    sample = image_sample((64, 96), (50, 70))
    clock = StageClock()
    model = mask2former.build_mask2former(sample, **tiny)
    run = mask2former.Mask2FormerInference(model, clock)
    result = run([sample])[0]
    assert result["segmentation"].shape == (50, 70)
    with torch.inference_mode():  # its classifier was made sure; its random masks may be lost
        logits = model(pixel_values=mask2former.normalised(sample["image"])).class_queries_logits
    assert (logits.softmax(-1)[..., :-1].amax(-1) > 0.5).any()
    stages = clock.measure(lambda: run([sample]), "rest")
    assert set(stages) == {"backbone", "input projection, encoder", "rest", "total"}
    before = model.class_predictor.weight.clone()
    step = mask2former.Mask2FormerStep(model, [training_sample(64, 96, 3, 2, COCO)])
    assert step() > 0
    assert not torch.equal(model.class_predictor.weight, before)


def test_confident_weights():
    size = (96, 128)
    sample = image_sample(size, size)
    model = build_our_model(build_config(tiny_options(inference)), sample).eval()
    with torch.no_grad():
        images = model.normalizer([sample["image"]])
        memory = model.pixel_decoder(model.backbone(images.tensor), images.padding_mask)
        things = model.location_decoder(memory).logits[-1].flatten().sort(descending=True).values
        stuff = model.stuff_decoder(memory)
    assert things[SURE_THINGS] == pytest.approx(1, abs=1e-3)
    assert things[model.matched_queries.topk - 1] == pytest.approx(-4, abs=1e-3)
    sure = stuff.logits[-1, 0].argsort(descending=True)[:SURE_STUFF]
    assert (stuff.logits[-1, 0] >= 0.999).sum() == SURE_STUFF + 1
    covered = (stuff.masks[-1][0, sure] > 0.5).float().mean()
    assert covered == pytest.approx(0.12, abs=0.01)


def test_pictures_have_all_their_segments():
    sample = training_sample(64, 96, things=5, stuff=4, layout=COCO)
    instances = sample["instances"]
    assert sample["image"].shape == (3, 64, 96)
    masks = instances.gt_masks.tensor
    assert masks.flatten(1).any(1).all()
    assert torch.equal(masks.sum(0), torch.ones(64, 96, dtype=torch.long))
    assert (instances.gt_classes >= 80).sum() == 4
    with pytest.raises(ValueError, match="do not fit into 4x4"):
        segment_labels(4, 4, things=20, stuff=10)


def test_difference_of_results():
    ids = torch.tensor([[1, 1, 2, 2], [1, 1, 0, 2]])
    segments = [{"id": 1, "category_id": 7}, {"id": 2, "category_id": 8}]
    renamed = (ids.clone(), [{"id": 2, "category_id": 7}, {"id": 1, "category_id": 8}])
    renamed[0][ids == 1], renamed[0][ids == 2] = 2, 1
    same = {"differing pixels": 0, "same segments": True}
    assert difference((ids, segments), renamed) == same
    moved = ids.clone()
    moved[0, 0] = 2
    assert difference((moved, segments), (ids, segments))["differing pixels"] == 1 / 8
    other = [segments[0], {"id": 2, "category_id": 9}]
    result = difference((ids, other), (ids, segments))
    assert result == {"differing pixels": 3 / 8, "same segments": False}
    assert not difference((ids, segments), (ids * (ids == 1), segments[:1]))["same segments"]


def test_stages_count_what_is_not_inside_another(monkeypatch):
    now = 0.0

    class Model:
        def inner(self):
            nonlocal now
            now += 2

        def outer(self):
            nonlocal now
            now += 1
            self.inner()

    monkeypatch.setattr("benchmarks.stages.time.perf_counter", lambda: now)
    model, clock = Model(), StageClock()
    clock.watch("inner", model, "inner")
    clock.watch("outer", model, "outer")

    def call():
        nonlocal now
        model.outer()
        model.inner()
        now += 5

    expected = {"inner": 4, "outer": 1, "rest": 5, "total": 10}
    assert clock.measure(call, "rest") == expected
    assert clock.measure(call, "rest") == expected


def test_stages_in_turns_are_medians_after_one_to_warm_up():
    values = iter([100, 1, 9, 2])
    found = stages_in_turns({"a": lambda: {"total": next(values)}}, rounds=3)
    assert found == {"a": {"total": 2}}


def test_sizes():
    assert size_of("480x640") == (480, 640)
    with pytest.raises(argparse.ArgumentTypeError, match="'480' is not HxW"):
        size_of("480")


def test_official_shares_are_of_the_whole():
    shares = official_shares(((800, 1200), (427, 640)))
    assert shares.pop("total") == 1
    assert sum(shares.values()) == pytest.approx(1)
    assert official_shares(((1, 1), (1, 1))) == {}

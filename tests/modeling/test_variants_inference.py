"""Every variant of the paper saves, loads and gives valid results."""

import copy

import pytest
import torch
from small_models import image, sample
from variant_models import EVERY_RESULT, INFERENCE, VARIANTS, VERSION_1, build, build_filled


@torch.no_grad()
def infer(model, *inputs: dict) -> list[dict]:
    return model.eval()(list(inputs))


def check_results(output: dict, size: tuple[int, int]) -> None:
    id_map, segments_info = output["panoptic_seg"]
    assert id_map.shape == size and id_map.dtype == torch.int32
    assert [s["id"] for s in segments_info] == list(range(1, len(segments_info) + 1))
    assert {s["id"] for s in segments_info} == set(id_map.unique().tolist()) - {0}
    for segment in segments_info:
        assert segment["area"] == (id_map == segment["id"]).sum() > 0
        assert 0 < segment["score"] <= 1
        assert segment["isthing"] == (segment["category_id"] in (0, 1, 2))
    stuff = [s["category_id"] for s in segments_info if not s["isthing"]]
    assert len(stuff) == len(set(stuff)), "one segment a stuff class"
    assert output["sem_seg"].shape == (5, *size)
    assert set(output["instances"].pred_classes.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("name", VARIANTS | INFERENCE)
def test_results(name):
    model = build_filled((VARIANTS | INFERENCE)[name] | EVERY_RESULT)
    sizes = [(64, 96), (50, 61)]
    outputs = infer(model, *({"image": image(*size, seed=i)} for i, size in enumerate(sizes)))
    for output, size in zip(outputs, sizes, strict=True):
        check_results(output, size)
    assert any(output["panoptic_seg"][1] for output in outputs), "nothing was proved"


@pytest.mark.parametrize("name", VARIANTS | INFERENCE)
def test_images_of_one_size_do_not_notice_their_batch(name):
    model = build_filled((VARIANTS | INFERENCE)[name] | EVERY_RESULT)
    inputs = [{"image": image(64, 96, seed=i)} for i in range(2)]
    together = infer(model, *inputs)
    for one, output in zip(inputs, together, strict=True):
        (alone,) = infer(model, one)
        differ = alone["panoptic_seg"][0] != output["panoptic_seg"][0]
        assert differ.float().mean() < 1e-3
        torch.testing.assert_close(alone["sem_seg"], output["sem_seg"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_model_loads_and_gives_the_same(name, tmp_path):
    model = build_filled(VARIANTS[name] | EVERY_RESULT)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    torch.manual_seed(7)
    again = build(VARIANTS[name] | EVERY_RESULT)
    again.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    inputs = {"image": image(64, 64)}
    (first,), (second,), (third,) = (infer(m, inputs) for m in (model, again, copy.deepcopy(again)))
    for other in (second, third):
        assert torch.equal(first["panoptic_seg"][0], other["panoptic_seg"][0])
        assert torch.equal(first["sem_seg"], other["sem_seg"])


def test_centres_are_not_predicted_at_inference():
    """The perceptrons serve training alone: without them the results are the same."""
    model = build_filled(VERSION_1 | EVERY_RESULT)
    (expected,) = infer(model, {"image": image(64, 64)})
    del model.location_decoder.box_embed
    model.location_decoder.box_embed = [None] * 2
    (output,) = infer(model, {"image": image(64, 64)})
    assert torch.equal(output["panoptic_seg"][0], expected["panoptic_seg"][0])


@pytest.mark.parametrize("blocks", [1, 2])
def test_early_exit_takes_the_mask_and_class_of_its_block(blocks):
    whole = build_filled(VERSION_1 | {"THING_MASK_LAYERS": 3})
    early = build(VERSION_1 | {"THING_MASK_LAYERS": 3, "TEST.MASK_LAYERS": blocks})
    early.load_state_dict(whole.state_dict())
    with torch.no_grad():
        images = whole.normalizer([image(64, 64)])
        memory = whole.pixel_decoder(whole.backbone(images.tensor), None)
        locations = whole.location_decoder(memory)
        masks, queries = whole.thing_mask_decoder(locations.queries[-1], memory)
        logits = whole.thing_mask_decoder.classify(queries)
        [found] = early.matched_queries.candidates(early.thing_mask_decoder, memory, locations)
    p, pairs = logits[blocks - 1, 0].sigmoid().flatten().topk(len(found.scores))
    torch.testing.assert_close(found.scores, p)
    assert torch.equal(found.classes, pairs % 5)
    torch.testing.assert_close(found.masks, masks[blocks - 1][0, pairs // 5])


def test_early_exit_of_both_decoders():
    """Things keep the class of the location decoder, stuff takes that of the block."""
    model = build_filled({"TEST.MASK_LAYERS": 1})
    with torch.no_grad():
        images = model.normalizer([image(64, 64)])
        memory = model.pixel_decoder(model.backbone(images.tensor), None)
        every, stopped = model.stuff_decoder(memory), model.stuff_decoder(memory, every_mask=False)
        locations = model.location_decoder(memory)
        masks, _ = model.thing_mask_decoder(locations.queries[-1], memory)
        [found] = model.matched_queries.candidates(model.thing_mask_decoder, memory, locations)
    assert len(stopped.masks) == len(stopped.logits) == 1
    torch.testing.assert_close(stopped.masks[0], every.masks[0])
    torch.testing.assert_close(stopped.logits[0], every.logits[0])
    p, pairs = locations.logits[-1, 0].sigmoid().flatten().topk(len(found.scores))
    torch.testing.assert_close(found.scores, p)
    torch.testing.assert_close(found.masks, masks[0][0, pairs // 3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("things", "stuff"), [([0, 1], []), ([], [0, 1]), ([3, 4], [0, 1, 2])])
def test_joint_queries_with_any_classes(things, stuff):
    model = build_filled(VERSION_1 | EVERY_RESULT, things, stuff)
    losses = model([sample(64, 64, [*things, *stuff]), sample(64, 64, [])])
    assert all(torch.isfinite(x) for x in losses.values())
    (output,) = infer(model, {"image": image(64, 64)})
    assert output["panoptic_seg"][1]
    for segment in output["panoptic_seg"][1]:
        assert segment["isthing"] == (segment["category_id"] in things)
    classes = model.class_layout
    assert (classes.thing_ids, classes.stuff_ids) == (tuple(things), tuple(stuff))

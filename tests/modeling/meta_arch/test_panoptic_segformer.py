"""The parts of Panoptic SegFormer, put together."""

import math

import pytest
import torch
from small_models import (
    EVERY_RESULT,
    JOINT,
    fill_by_rule,
    image,
    infer,
    sample,
    small_config,
    small_model,
    tiny_model,
)

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.utils import EventStorage
from d2_psformer.utils.errors import UserError

# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(
    ("absent", "zero", "alive"),
    [
        ([0, 1], "stuff_loss_dice", "stuff_loss_ce"),
        ([3, 4], "thing_loss_dice", "thing_loss_ce"),
    ],
)
def test_a_kind_that_is_not_there_has_no_mask_loss_but_a_class_loss(absent, zero, alive):
    losses = tiny_model(filled=False)([sample(64, 64, absent)])
    assert all(x == 0 for name, x in losses.items() if name.startswith(zero))
    assert all(x > 0 for name, x in losses.items() if name.startswith(alive))


def test_losses_are_divided_by_the_segments_of_both_kinds():
    """The same queries and segments give less of a loss the more segments are beside them."""
    model = tiny_model()
    inputs = sample(64, 64, [0, 1, 3, 4])
    without_stuff = sample(64, 64, [0, 1, 3, 4])
    without_stuff["instances"] = inputs["instances"][inputs["instances"].gt_classes < 3]
    both, things = model([inputs]), model([without_stuff])
    for name in ("thing_loss_ce", "thing_loss_bbox", "thing_loss_dice"):
        # two things and two kinds of stuff; a kind that is not there counts as one segment
        torch.testing.assert_close(4 * both[name], 3 * things[name], msg=name)


def test_joint_queries_are_matched_with_things_and_stuff():
    model = tiny_model(filled=False, **JOINT)
    assert model.stuff_decoder is None
    assert model.location_decoder.class_embed[0].out_features == 5
    assert model.thing_ids.tolist() == [0, 1, 2, 3, 4]


def test_every_mask_head_is_alive_at_the_start():
    model = tiny_model(filled=False)
    sum(model([sample(96, 96, [0, 1, 3, 4])]).values()).backward()
    heads = {n: p.grad for n, p in model.named_parameters() if n.endswith("mask_fc.weight")}
    assert len(heads) == 6
    assert all(gradient.any() for gradient in heads.values())


def test_progress_is_logged():
    model = tiny_model(filled=False)
    with EventStorage() as storage:
        model([sample(64, 64, [0, 1, 3])])
        latest = {name: value for name, (value, _) in storage.latest().items()}
    assert set(latest) == {"class_score", "mask_dice"}
    assert all(0 <= value <= 1 for value in latest.values())
    assert latest["class_score"] == pytest.approx(0.01, abs=0.05), "the prior of a fresh classifier"


def test_nothing_is_logged_of_an_image_without_things():
    model = tiny_model(filled=False)
    with EventStorage() as storage:
        model([sample(64, 64, [3])])
        assert not storage.latest()


def test_diverged_outputs_stop_with_advice():
    model = tiny_model(filled=False)
    with torch.no_grad():
        model.location_decoder.class_embed[0].bias.fill_(float("nan"))
    with pytest.raises(UserError, match=r"matching cost is not finite.*BASE_LR"):
        model([sample(64, 64, [0, 3])])


def test_a_class_that_the_model_does_not_know_is_named():
    with pytest.raises(UserError, match=r"Class id 9 is not in the 3 thing and 2 stuff classes"):
        tiny_model(filled=False)([sample(64, 64, [0, 9])])


# ---------------------------------------------------------------- inference


@torch.no_grad()
def test_predicted_masks_are_those_of_the_best_pairs():
    model = tiny_model().eval()
    pixels = torch.randn(2, 3, 64, 96)
    features = model.pixel_decoder(model.backbone(pixels), None)
    queries, located = model.location_decoder(features)
    masks, _ = model.thing_mask_decoder(queries, features)
    stuff = model.stuff_decoder(features)
    found = model.predict(pixels).queries
    things = found["things"]
    values, pairs = located.logits[-1].flatten(1).topk(36)
    torch.testing.assert_close(things.logits[-1][..., 0], values)
    assert torch.equal(things.query_index, pairs // 3)
    assert torch.equal(things.classes, pairs % 3)
    expected = masks[-1][torch.arange(2)[:, None], pairs // 3]
    torch.testing.assert_close(things.masks[-1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["stuff"].masks, stuff.masks[-1:])
    torch.testing.assert_close(found["stuff"].logits[-1], stuff.logits[-1])
    assert found["stuff"].classes.tolist() == [[3, 4]] * 2


@torch.no_grad()
def test_early_exit_of_both_decoders():
    """Things keep the class of the location decoder, stuff takes that of the block."""
    model = tiny_model(**{"MODEL.PSFORMER.EXIT_AFTER": 1}).eval()
    pixels = torch.randn(1, 3, 64, 64)
    features = model.pixel_decoder(model.backbone(pixels), None)
    queries, located = model.location_decoder(features)
    masks, _ = model.thing_mask_decoder(queries, features)
    stuff = model.stuff_decoder(features)
    things, stopped = model.predict(pixels).queries.values()
    values, pairs = located.logits[-1][0].flatten().topk(things.classes.shape[1])
    torch.testing.assert_close(things.logits[-1][0, :, 0], values)
    torch.testing.assert_close(things.masks[-1][0], masks[0][0, pairs // 3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stopped.masks[-1], stuff.masks[0])
    torch.testing.assert_close(stopped.logits[-1], stuff.logits[0])


@pytest.mark.parametrize(("topk", "most"), [(5, 5), (1000, 12 * 3)])
def test_topk_bounds_the_things(topk, most):
    model = tiny_model(**EVERY_RESULT, **{"MODEL.PSFORMER.TOPK": topk})
    (output,) = infer(model, {"image": image(64, 64)})
    assert len(output["instances"]) <= most
    predicted = model.predict(torch.zeros(1, 3, 64, 64)).queries["things"]
    assert predicted.classes.shape == (1, most)


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize(
    ("thing_ids", "stuff_ids", "parts"),
    [
        ((0, 1, 2), (), {"location_decoder", "thing_mask_decoder"}),
        ((), (0, 1), {"stuff_decoder"}),
        ((3, 4), (0, 1, 2), {"location_decoder", "thing_mask_decoder", "stuff_decoder"}),
    ],
)
def test_a_kind_that_the_data_lacks_has_no_decoder(thing_ids, stuff_ids, parts):
    model = tiny_model(thing_ids, stuff_ids, filled=False)
    decoders = {"location_decoder", "thing_mask_decoder", "stuff_decoder"}
    assert {n for n in decoders if getattr(model, n) is not None} == parts


def test_classes_come_from_detectron2s_own_metadata():
    """Its COCO metadata has all 133 names as thing_classes, and things among the stuff ids."""
    names = [f"class {i}" for i in range(133)]
    metadata = MetadataCatalog.get("coco_like_detectron2")
    metadata.set(
        thing_classes=names,
        stuff_classes=names,
        thing_dataset_id_to_contiguous_id={1 + i: i for i in range(80)},
        stuff_dataset_id_to_contiguous_id={1 + i: i for i in range(133)},
    )
    cfg = small_config()
    cfg.DATASETS.TRAIN = ("coco_like_detectron2",)
    model = build_model(cfg)
    assert model.location_decoder.class_embed[0].out_features == 80
    assert model.stuff_decoder.query_embed.num_embeddings == 53


def test_a_data_set_without_panoptic_metadata_is_named():
    cfg = small_config()
    cfg.DATASETS.TRAIN = ("boxes_only",)
    with pytest.raises(UserError, match=r"Data set 'boxes_only' has no metadata of its classes"):
        build_model(cfg)


# ---------------------------------------------------------------- shapes of the model


def test_fine_levels_as_in_the_demo():
    model = small_model(
        **{
            "MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4"],
            "MODEL.PIXEL_DECODER.NUM_LEVELS": 3,
        }
    ).eval()
    maps = model.backbone(torch.zeros(1, 3, 64, 96))
    features = model.pixel_decoder(maps, torch.zeros(1, 64, 96, dtype=torch.bool))
    assert features.spatial_shapes == ((16, 24), (8, 12), (4, 6))
    assert model.mask_stride == 4
    (output,) = infer(model, {"image": image(50, 70)})
    assert output["panoptic_seg"][0].shape == (50, 70)


def test_masks_have_the_resolution_of_the_finest_feature():
    model = fill_by_rule(small_model()).eval()
    with torch.no_grad():
        outputs = model.predict(torch.zeros(1, 3, 50, 70)).queries
    size = math.ceil(50 / 8), math.ceil(70 / 8)
    assert outputs["stuff"].masks[-1].shape == (1, 2, *size)
    assert outputs["things"].masks[-1].shape == (1, 36, *size)

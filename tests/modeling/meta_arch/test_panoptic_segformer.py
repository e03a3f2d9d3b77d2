"""The whole model from Detectron2's dicts to losses and results."""

import math

import pytest
import torch
from small_models import fill_by_rule, image, sample, small_config, small_model

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.utils import EventStorage

EVERYTHING = {
    "MODEL.POSTPROCESSING.PANOPTIC_ON": True,
    "MODEL.POSTPROCESSING.SEMANTIC_ON": True,
    "MODEL.POSTPROCESSING.INSTANCE_ON": True,
    # accept almost anything, so that weights made up by rule give many segments
    "MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.01,
}


@pytest.fixture(scope="module")
def trained():
    """In evaluation mode, with every kind of result."""
    return fill_by_rule(small_model(**EVERYTHING)).eval()


@torch.no_grad()
def infer(model, *inputs: dict) -> list[dict]:
    return model(list(inputs))


# ---------------------------------------------------------------- losses

KINDS = {
    "both kinds": [[0, 1, 3, 4]],
    "no things": [[3, 4]],
    "no stuff": [[0, 2, 2]],
    "nothing": [[]],
    "one image of each": [[0, 3], [3], [1], []],
    "more things than queries": [[0, 1, 2] * 5],
}


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_finite_and_every_parameter_gets_a_gradient(kind):
    """A parameter without a gradient would stop distributed training."""
    model = small_model(**{"MODEL.BACKBONE.FREEZE_BN": True})
    sizes = [(64, 96), (50, 61), (33, 80), (64, 64)]
    batch = [sample(*size, classes) for size, classes in zip(sizes, KINDS[kind], strict=False)]
    losses = model(batch)
    assert all(x.dim() == 0 and torch.isfinite(x) and x >= 0 for x in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_names_of_the_losses():
    losses = small_model()([sample(64, 64, [0, 3])])
    layers = {kind: ["_0", ""] for kind in ("loss_class", "loss_box", "loss_giou")}
    blocks = {kind: ["_0", "_1", ""] for kind in ("loss_thing_mask", "loss_stuff_mask")}
    expected = layers | blocks | {"loss_stuff_class": ["_0", ""]}
    assert set(losses) == {kind + suffix for kind, ends in expected.items() for suffix in ends}


@pytest.mark.parametrize(
    ("absent", "zero", "alive"),
    [([0, 1], "loss_stuff_mask", "loss_stuff_class"), ([3, 4], "loss_thing_mask", "loss_class")],
)
def test_an_absent_kind_has_no_mask_loss_but_is_told_to_be_absent(absent, zero, alive):
    losses = small_model()([sample(64, 64, absent)])
    assert all(x == 0 for name, x in losses.items() if name.startswith(zero))
    assert all(x > 0 for name, x in losses.items() if name.startswith(alive))


def test_a_batch_weighs_its_images_as_two_processes_would():
    """With the same counts of both kinds, the loss of a batch is the mean of the images' losses."""
    model = fill_by_rule(small_model(**{"MODEL.BACKBONE.FREEZE_BN": True}))
    first, second = sample(64, 64, [0, 1, 3]), sample(64, 64, [2, 0, 4], seed=5)
    with torch.no_grad():
        together = model([first, second])
        alone = [model([first]), model([second])]
    for name, loss in together.items():
        mean = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(loss, mean, rtol=1e-4, atol=1e-5, msg=name)


def test_every_mask_head_is_alive_at_the_start():
    model = small_model()
    sum(model([sample(96, 96, [0, 1, 3, 4])]).values()).backward()
    heads = {n: p.grad for n, p in model.named_parameters() if n.endswith("mask_fc.weight")}
    assert len(heads) == 6
    assert all(gradient.any() for gradient in heads.values())


def test_progress_is_logged():
    model = small_model()
    with EventStorage() as storage:
        model([sample(64, 64, [0, 1, 3])])
        latest = {name: value for name, (value, _) in storage.latest().items()}
    assert set(latest) == {"class_score", "mask_dice"}
    assert all(0 <= value <= 1 for value in latest.values())
    assert latest["class_score"] == pytest.approx(0.01, abs=0.05), "the prior of a fresh classifier"


def test_nothing_is_logged_of_an_image_without_things():
    model = small_model()
    with EventStorage() as storage:
        model([sample(64, 64, [3])])
        assert not storage.latest()


def test_diverged_outputs_stop_with_advice():
    model = small_model()
    with torch.no_grad():
        model.location_decoder.class_embed[0].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"matching cost is not finite.*BASE_LR"):
        model([sample(64, 64, [0, 3])])


def test_a_class_that_the_model_does_not_know_is_named():
    with pytest.raises(ValueError, match=r"Class id 9 is not in the 3 thing and 2 stuff classes"):
        small_model()([sample(64, 64, [0, 9])])


def test_mixed_precision_gives_nearly_the_same_losses():
    model = fill_by_rule(small_model(**{"MODEL.BACKBONE.FREEZE_BN": True}))
    batch = [sample(64, 96, [0, 1, 3])]
    expected = model(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(batch)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32, name
        assert loss.item() == pytest.approx(expected[name].item(), rel=0.1, abs=0.05), name


def test_learns_one_image():
    """A few steps on one image lower the loss by a third: signs and gradients are right."""
    torch.manual_seed(1)
    model = small_model(**{"MODEL.BACKBONE.FREEZE_BN": True})
    batch = [sample(64, 64, [0, 1, 3, 4])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(10):
        total = sum(model(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]


# ---------------------------------------------------------------- results


def check_results(output: dict, size: tuple[int, int], classes: int = 5) -> None:
    id_map, segments_info = output["panoptic_seg"]
    assert id_map.shape == size and id_map.dtype == torch.int32
    assert sorted(s["id"] for s in segments_info) == sorted(set(id_map.unique().tolist()) - {0})
    for segment in segments_info:
        assert type(segment["id"]) is int and segment["id"] >= 1
        assert type(segment["isthing"]) is bool
        assert segment["area"] == (id_map == segment["id"]).sum() > 0
        assert 0 < segment["score"] <= 1
        assert 0 <= segment["category_id"] < classes
    semantic = output["sem_seg"]
    assert semantic.shape == (classes, *size) and semantic.dtype == torch.float32
    assert (semantic >= 0).all()
    instances = output["instances"]
    assert instances.image_size == size
    assert instances.pred_masks.shape == (len(instances), *size)
    assert (instances.scores <= 1).all()


@pytest.mark.parametrize("size", [(64, 96), (37, 51), (130, 40)])
def test_results_at_the_original_size(trained, size):
    (output,) = infer(trained, {"image": image(64, 96), "height": size[0], "width": size[1]})
    check_results(output, size)
    assert output["panoptic_seg"][1], "made-up weights should give some segment"


def test_the_size_of_the_image_is_the_default(trained):
    (output,) = infer(trained, {"image": image(50, 70)})
    check_results(output, (50, 70))


def test_batches_of_any_sizes(trained):
    sizes = [(64, 96), (50, 61), (33, 80)]
    outputs = infer(trained, *({"image": image(*size, seed=i)} for i, size in enumerate(sizes)))
    assert len(outputs) == 3
    for output, size in zip(outputs, sizes, strict=True):
        check_results(output, size)


def test_images_of_one_size_do_not_notice_their_batch(trained):
    inputs = [{"image": image(64, 96, seed=i)} for i in range(3)]
    together = infer(trained, *inputs)
    for one, output in zip(inputs, together, strict=True):
        (alone,) = infer(trained, one)
        assert torch.equal(alone["panoptic_seg"][0], output["panoptic_seg"][0])
        torch.testing.assert_close(alone["sem_seg"], output["sem_seg"], rtol=1e-4, atol=1e-5)


def test_padding_is_cropped_before_masks_are_resized(trained):
    """A square of the left half must stay there when its image is padded to twice the width."""
    masks = torch.zeros(1, 8, 16)
    masks[0, :, 4:8] = 1
    resized = trained._to_image(masks, valid=(64, 64), size=(128, 128))
    assert resized.size == (128, 128)
    assert resized.above(0.5)[0].tight_box() == [64, 0, 128, 128]


def test_kinds_of_result_are_switchable():
    model = small_model(
        **{"MODEL.POSTPROCESSING.PANOPTIC_ON": False, "MODEL.POSTPROCESSING.SEMANTIC_ON": True}
    ).eval()
    (output,) = infer(model, {"image": image(40, 40)})
    assert set(output) == {"sem_seg"}


def test_topk_bounds_the_thing_candidates():
    options = EVERYTHING | {"MODEL.PSFORMER.TOPK": 5}
    (output,) = infer(fill_by_rule(small_model(**options)).eval(), {"image": image(64, 64)})
    assert len(output["instances"]) <= 5
    # more than there are pairs is no error
    options["MODEL.PSFORMER.TOPK"] = 1000
    (output,) = infer(fill_by_rule(small_model(**options)).eval(), {"image": image(64, 64)})
    assert len(output["instances"]) <= 12 * 3


def test_results_are_deterministic(trained):
    first, second = (infer(trained, {"image": image(64, 96)})[0] for _ in range(2))
    assert torch.equal(first["panoptic_seg"][0], second["panoptic_seg"][0])


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize(
    ("thing_ids", "stuff_ids", "parts"),
    [
        ([0, 1, 2], [], {"location_decoder", "thing_mask_decoder"}),
        ([], [0, 1], {"stuff_decoder"}),
        # Cityscapes has its things last
        ([3, 4], [0, 1, 2], {"location_decoder", "thing_mask_decoder", "stuff_decoder"}),
    ],
)
def test_any_layout_of_classes(thing_ids, stuff_ids, parts):
    model = fill_by_rule(small_model(thing_ids, stuff_ids, **EVERYTHING))
    decoders = {"location_decoder", "thing_mask_decoder", "stuff_decoder"}
    assert {n for n in decoders if getattr(model, n) is not None} == parts
    losses = model([sample(64, 64, [*thing_ids, *stuff_ids]), sample(64, 64, [])])
    sum(losses.values()).backward()
    assert all(torch.isfinite(x) for x in losses.values())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    (output,) = infer(model.eval(), {"image": image(64, 64)})
    check_results(output, (64, 64), classes=len(thing_ids) + len(stuff_ids))
    for segment in output["panoptic_seg"][1]:
        assert segment["isthing"] == (segment["category_id"] in thing_ids)
    assert set(output["instances"].pred_classes.tolist()) <= set(thing_ids)


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
    with pytest.raises(ValueError, match=r"Data set 'boxes_only' has no panoptic metadata"):
        build_model(cfg)


@pytest.mark.parametrize("key", ["LOCATION_LAYERS", "STUFF_MASK_LAYERS", "TEST.TOPK"])
def test_impossible_counts_are_named(key):
    with pytest.raises(ValueError, match=f"MODEL.PSFORMER.{key} is 0: it must be at least 1"):
        small_model(**{f"MODEL.PSFORMER.{key}": 0})


# ---------------------------------------------------------------- shapes of the model


def test_a_backbone_that_needs_a_multiple_of_32():
    model = fill_by_rule(
        small_model(**EVERYTHING, **{"MODEL.BACKBONE.TIMM_NAME": "convnext_atto"})
    ).eval()
    (output,) = infer(model, {"image": image(50, 70)})
    check_results(output, (50, 70))


def test_fine_levels_as_in_the_demo():
    model = small_model(
        **{
            "MODEL.PSFORMER.IN_FEATURES": ["res2", "res3", "res4"],
            "MODEL.PSFORMER.NUM_FEATURE_LEVELS": 3,
        }
    ).eval()
    features = model.backbone(torch.zeros(1, 3, 64, 96))
    memory = model.pixel_decoder(features, torch.zeros(1, 64, 96, dtype=torch.bool))
    assert memory.spatial_shapes == ((16, 24), (8, 12), (4, 6))
    assert model.mask_stride == 4
    (output,) = infer(model, {"image": image(50, 70)})
    assert output["panoptic_seg"][0].shape == (50, 70)


def test_masks_have_the_resolution_of_the_finest_feature(trained):
    features = trained.backbone(torch.zeros(1, 3, 50, 70))
    memory = trained.pixel_decoder(features, torch.zeros(1, 50, 70, dtype=torch.bool))
    assert memory.spatial_shapes[0] == (math.ceil(50 / 8), math.ceil(70 / 8))
    stuff = trained.stuff_decoder(memory)
    assert stuff.masks[-1].shape == (1, 2, 7, 9)

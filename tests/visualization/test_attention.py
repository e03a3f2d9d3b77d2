"""Recorded attention: what it equals, whose it is, and that recording leaves no trace."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from d2_psformer.d2.modeling import build_model
from d2_psformer.data.scenes import generate_scene
from d2_psformer.engine import Predictor, load_config
from d2_psformer.modeling.criterion import resize_masks
from d2_psformer.ops import ms_deform_attn
from d2_psformer.utils.errors import UserError
from d2_psformer.visualization import check_recordable, recording_attention

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "scenes" / "demo.yaml")


def trained_predictor(*options: str, autocast: str = "float32") -> Predictor:
    """The model of the repository, with a padded canvas; nothing in it is zero or alike."""
    weights = str(ROOT / "demo" / "psformer_scenes.pth")
    options = ["MODEL.WEIGHTS", weights, "MODEL.AUTOCAST", autocast, *options]
    predictor = Predictor(load_config(CONFIG, options))
    predictor.model.normalizer.size_divisibility = 32
    return predictor


@pytest.fixture(scope="module")
def predictor():
    return trained_predictor()


@pytest.fixture(scope="module")
def image():
    """100 x 118 pixels: the canvas is padded on both sides."""
    return generate_scene(20_000_001)[0][9:109, :118]


@pytest.fixture(scope="module")
def recorded(predictor, image):
    """The record of an image, the result, and inputs and outputs of the parts of the model."""
    model, seen = predictor.model, {}
    parts = {"features": model.pixel_decoder, "location": model.location_decoder}
    parts |= {f"layer {i + 1}": x.cross_attn for i, x in enumerate(model.location_decoder.layers)}
    handles = [
        part.register_forward_hook(lambda _, args, out, name=name: seen.update({name: (args, out)}))
        for name, part in parts.items()
    ]
    with recording_attention(model) as record:
        ids, segments_info = predictor(image)["panoptic_seg"]
    for handle in handles:
        handle.remove()
    return record, ids, segments_info, seen


def first(segments_info, isthing):
    return next(s for s in segments_info if s["isthing"] == isthing)


def put_together(record, size, segments_info):
    """The id map again, by taking the pixels of the recorded masks in turn."""
    ids = torch.zeros(size, dtype=torch.int32)
    for segment in segments_info:
        attention = record.of(segment)
        rows, columns = attention.valid_cells[0]
        mask = resize_masks(attention.maps[-1].mask[None, :rows, :columns], size)[0]
        ids[(mask > 0.5) & (ids == 0)] = segment["id"]
    return ids


def test_recorded_masks_are_those_of_the_result(recorded):
    record, ids, segments_info, _ = recorded
    assert {s["isthing"] for s in segments_info} == {True, False}
    assert torch.equal(put_together(record, ids.shape, segments_info), ids)


@torch.no_grad()
@pytest.mark.parametrize("isthing", [True, False])
def test_masks_of_every_layer_are_the_decoders(predictor, recorded, isthing):
    record, _, segments_info, seen = recorded
    features, model = seen["features"][1], predictor.model
    if isthing:
        queries, _ = seen["location"][1]
        masks, _ = model.thing_mask_decoder(queries, features)
    else:
        masks = model.stuff_decoder(features).masks
    segment = first(segments_info, isthing)
    maps = record.of(segment).maps
    assert [m.layer for m in maps] == ["block 1", "block 2", "final"]
    for layer, mask in zip(maps, masks, strict=True):
        torch.testing.assert_close(layer.mask, mask[0, segment["query"]], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_attention_is_that_of_pytorchs_module(predictor, recorded):
    """The first block's, whose query is known: the location decoder's."""
    record, _, segments_info, seen = recorded
    segment = first(segments_info, True)
    features, (queries, _) = seen["features"][1], seen["location"][1]
    ours = predictor.model.thing_mask_decoder.blocks[0].cross_attn
    theirs = torch.nn.MultiheadAttention(64, 4, batch_first=True)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
    theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    query = queries[:, segment["query"], None]
    tokens, _ = features.finest(3)
    _, expected = theirs(query, tokens, tokens, average_attn_weights=False)
    attention = torch.cat([x.flatten(1) for x in record.of(segment).maps[0].attention], dim=1)
    torch.testing.assert_close(attention, expected[0, :, 0], rtol=1e-4, atol=1e-6)


def test_attention_sums_to_one_over_all_levels(recorded):
    record, _, segments_info, _ = recorded
    for layer in record.of(first(segments_info, False)).maps:
        assert [x.shape for x in layer.attention] == [x.shape for x in layer.scores]
        total = sum(x.sum((1, 2)) for x in layer.attention)
        torch.testing.assert_close(total, torch.ones(4))


@torch.no_grad()
def test_sampling_points_are_where_the_location_decoder_reads(predictor, recorded):
    """The classic operator at the recorded points gives what the layer gave."""
    record, _, segments_info, seen = recorded
    segment = first(segments_info, True)
    features, (_, located) = seen["features"][1], seen["location"][1]
    assert (features.valid_ratios[0, 0] < 1).all()
    points = record.of(segment).points
    assert [p.layer for p in points] == ["layer 1", "layer 2", "layer 3"]
    for i, layer in enumerate(points):
        assert layer.locations.shape == (4, 3, 4, 2)
        torch.testing.assert_close(layer.weights.sum((1, 2)), torch.ones(4))
        attention = predictor.model.location_decoder.layers[i].cross_attn
        value = attention.value_proj(features.tokens).masked_fill(features.padding[..., None], 0)
        on_canvas = layer.locations * features.valid_ratios[0, :, None]
        read = ms_deform_attn(
            value.unflatten(-1, (4, 16)),
            features.spatial_shapes,
            on_canvas[None, None],
            layer.weights[None, None],
        )
        expected = seen[layer.layer][1][0, segment["query"]]
        torch.testing.assert_close(
            attention.output_proj(read)[0, 0], expected, rtol=1e-4, atol=1e-5
        )
        assert torch.equal(layer.box, located.boxes[i][0, segment["query"]])
    assert points[0].reference.shape == (2,)
    for layer, next_layer in pairwise(points):
        torch.testing.assert_close(next_layer.reference, layer.box)


def test_stuff_has_no_sampling_points(recorded):
    record, _, segments_info, _ = recorded
    assert record.of(first(segments_info, False)).points == []


def hooks(model):
    return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]


def test_recording_changes_no_result_and_leaves_no_hook(predictor, image, recorded):
    _, ids, segments_info, _ = recorded
    before = hooks(predictor.model)
    plain_ids, plain_info = predictor(image)["panoptic_seg"]
    assert torch.equal(plain_ids, ids) and plain_info == segments_info
    with pytest.raises(KeyError), recording_attention(predictor.model):
        assert hooks(predictor.model) != before
        raise KeyError
    assert hooks(predictor.model) == before


def test_maps_can_be_asked_for_while_recording_goes_on(predictor, image, recorded):
    reference, _, segments_info, _ = recorded
    things = [s for s in segments_info if s["isthing"]]
    with recording_attention(predictor.model) as record:
        predictor(image[:50])
        predictor(image)  # the last image counts
        for segment in things:
            mask = record.of(segment).maps[0].mask
            assert torch.equal(mask, reference.of(segment).maps[0].mask)


def test_half_precision(image):
    """Maps are computed in float32, from what the model computed in half precision."""
    predictor = trained_predictor(autocast="bfloat16")
    with recording_attention(predictor.model) as record:
        ids, segments_info = predictor(image)["panoptic_seg"]
    assert (put_together(record, ids.shape, segments_info) == ids).float().mean() > 0.99
    attention = record.of(first(segments_info, True))
    assert attention.maps[0].mask.dtype == attention.points[0].locations.dtype == torch.float32


def test_early_exit(image):
    predictor = trained_predictor("MODEL.PSFORMER.EXIT_AFTER", "1")
    with recording_attention(predictor.model) as record:
        ids, segments_info = predictor(image)["panoptic_seg"]
    assert [m.layer for m in record.of(segments_info[0]).maps] == ["block 1"]
    assert torch.equal(put_together(record, ids.shape, segments_info), ids)


@pytest.mark.parametrize(
    "option",
    [
        ("MODEL.META_ARCHITECTURE", "PanopticSegFormerV1"),
        ("MODEL.PSFORMER.QUERY_DECOUPLING", "False"),
    ],
    ids=["version 1", "joint"],
)
def test_one_decoder_for_things_and_stuff(image, option):
    """Version 1 predicts no boxes in inference."""
    cfg = load_config(CONFIG, option)
    cfg.MODEL.POSTPROCESSING.SCORE_THRESHOLD = 0.0
    model = build_model(cfg).eval()
    is_version_1 = "V1" in option[1]
    decoder, made = model.mask_decoder if is_version_1 else model.thing_mask_decoder, []
    decoder.register_forward_hook(lambda _, args, output: made.extend(args[:2]))
    pixels = torch.as_tensor(image.transpose(2, 0, 1).copy())
    with torch.no_grad(), recording_attention(model) as record:
        model([{"image": pixels}])
        outputs = model.predict(model.normalizer([pixels]).tensor)
    [found] = outputs.queries.values()
    for pair in (0, 5):
        query = int(found.query_index[0, pair])
        for isthing in (True, False):
            attention = record.of({"id": 1, "isthing": isthing, "query": query})
            torch.testing.assert_close(attention.maps[-1].mask, found.masks[-1][0, pair])
            assert len(attention.points) == 3
            assert all((p.box is None) == is_version_1 for p in attention.points)


def test_one_image_at_a_time(predictor, recorded):
    with recording_attention(predictor.model) as record:
        with pytest.raises(ValueError, match="segment an image"):
            record.of({"id": 1, "isthing": True, "query": 0})
        pixels = {"image": torch.zeros(3, 64, 64)}
        with pytest.raises(ValueError, match="one image at a time"):
            predictor.model([pixels, pixels])


def test_a_model_without_mask_decoders_is_refused(predictor):
    check_recordable(predictor.model)
    with pytest.raises(UserError, match="The attention of Mask2Former cannot be drawn"):
        check_recordable(build_model(load_config("scenes/mask2former")))

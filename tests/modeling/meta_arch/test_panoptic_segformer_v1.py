"""Version 1 of the paper: one match, by the last class, place and mask, for all layers."""

import pytest
import torch
import torch.nn.functional as F
from small_models import EVERY_RESULT, VERSION_1, image, infer, sample, segments, tiny_model

from d2_psformer.modeling.criterion import dice_loss, prepare_targets
from d2_psformer.modeling.meta_arch.panoptic_segformer_v1 import with_centres_of_mass


def test_centre_of_mass_by_hand():
    instances = segments(32, 48, [1])
    mask = torch.zeros(1, 32, 48, dtype=torch.bool)
    mask[0, 4:8, 12:24] = True  # 48 pixels about (18, 6)
    mask[0, 8:20, 12:16] = True  # 48 pixels about (14, 14)
    instances.gt_masks.tensor[:] = mask
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    target = with_centres_of_mass(prepare_targets(instances, (1,), (), (32, 48)))
    expected = torch.tensor([[16 / 48, 10 / 32, 12 / 48, 16 / 32]])
    torch.testing.assert_close(target.boxes, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_centres_of_mass_are_exact_under_autocast(dtype):
    target = prepare_targets(segments(600, 700, [1, 1]), (1,), (), (600, 700))
    expected = with_centres_of_mass(target).boxes
    with torch.autocast("cpu", dtype):
        assert torch.equal(with_centres_of_mass(target).boxes, expected)


@pytest.mark.parametrize("classes", [[5, 7, 5], []])
def test_centres_of_mass(classes):
    """Normalised to the valid image, not to the canvas; sizes stay."""
    instances = segments(20, 30, classes)
    target = prepare_targets(instances, (5, 7), (), (32, 32))
    moved = with_centres_of_mass(target)
    for mask, place, box in zip(instances.gt_masks.tensor, moved.boxes, target.boxes, strict=True):
        y, x = mask.nonzero().float().mean(0)
        torch.testing.assert_close(place[:2], torch.stack([(x + 0.5) / 30, (y + 0.5) / 20]))
        assert torch.equal(place[2:], box[2:])
    assert moved.boxes.shape == (len(classes), 4)


def test_losses_by_hand():
    model = tiny_model(**VERSION_1)
    size, classes = (64, 96), [0, 2, 3]
    inputs = sample(*size, classes)
    losses = model([inputs])
    with torch.no_grad():
        images = model.normalizer([inputs["image"]])
        features = model.pixel_decoder(model.backbone(images.tensor), images.padding)
        outputs = model._decode(features, every_layer=True)
        targets = [with_centres_of_mass(t) for t in model.targets([inputs], images)]
        [[(rows, chosen)]] = model.criterion.match(outputs, targets)
    assert len(rows) == 3 and len(outputs.logits) == len(outputs.boxes) == 2
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    bits = inputs["instances"].gt_masks.tensor
    places = torch.tensor(
        [
            [x[m].mean() / 96, y[m].mean() / 64, (box[2] - box[0]) / 96, (box[3] - box[1]) / 64]
            for m, box in zip(bits, inputs["instances"].gt_boxes.tensor, strict=True)
        ]
    )
    truth = F.interpolate(bits[None].float(), (16, 24), mode="bilinear")[0].flatten(1)
    weight = 1 / 3  # sums are divided by the segments
    for layer, suffix in enumerate(["_0", "_1", ""]):
        masks = F.interpolate(outputs.masks[layer], (16, 24), mode="bilinear")[0].flatten(1)
        dice = dice_loss(masks[rows], truth[chosen]).sum()
        torch.testing.assert_close(losses[f"loss_dice{suffix}"], 2 * dice * weight)
    for layer, suffix in enumerate(["_0", ""]):
        distance = (outputs.boxes[layer][0, rows] - places[chosen]).abs().sum()
        torch.testing.assert_close(losses[f"loss_bbox{suffix}"], 5 * distance * weight)
        p = outputs.logits[layer][0].sigmoid()
        positive = torch.zeros(12, 5, dtype=torch.bool)
        positive[rows, torch.tensor(classes)[chosen]] = True
        focal = torch.where(
            positive, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log()
        ).sum()
        torch.testing.assert_close(losses[f"loss_ce{suffix}"], 2 * focal * weight)


def test_one_classifier_starts_from_the_prior():
    model = tiny_model(filled=False, **VERSION_1, **{"MODEL.PSFORMER.CLASS_PRIOR": 0.2})
    torch.nn.init.zeros_(model.class_embed.weight)
    with torch.no_grad():
        logits = model.predict(torch.zeros(1, 3, 64, 64)).queries["segments"].logits[-1]
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.2))


def test_places_are_not_predicted_in_inference():
    """The MLPs of places serve training alone: without them the results are the same."""
    model = tiny_model(**VERSION_1, **EVERY_RESULT)
    (expected,) = infer(model, {"image": image(64, 64)})
    model.location_decoder.box_embed = torch.nn.ModuleList([None] * 2)
    (output,) = infer(model, {"image": image(64, 64)})
    assert torch.equal(output["panoptic_seg"][0], expected["panoptic_seg"][0])


@pytest.mark.parametrize("blocks", [1, 2])
@torch.no_grad()
def test_early_exit_takes_the_mask_and_class_of_its_block(blocks):
    options = VERSION_1 | {"MODEL.PSFORMER.THING_MASK_LAYERS": 3}
    whole = tiny_model(**options).eval()
    early = tiny_model(**options, **{"MODEL.PSFORMER.EXIT_AFTER": blocks}).eval()
    early.load_state_dict(whole.state_dict())
    images = whole.normalizer([image(64, 64)])
    features = whole.pixel_decoder(whole.backbone(images.tensor), None)
    outputs = whole._decode(features, every_layer=True)
    found = early.predict(images.tensor).queries["segments"]
    values, pairs = outputs.logits[blocks - 1][0].flatten().topk(found.classes.shape[1])
    torch.testing.assert_close(found.logits[-1][0, :, 0], values)
    assert torch.equal(found.classes[0], pairs % 5)
    assert torch.equal(found.query_index[0], pairs // 5)
    torch.testing.assert_close(found.masks[-1][0], outputs.masks[blocks - 1][0, pairs // 5])

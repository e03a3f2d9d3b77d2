"""What is not finite is named, and half precision comes near float32."""

from dataclasses import replace

import pytest
import torch
from small_models import (
    EVERY_ARCHITECTURE,
    SEMANTIC_ALONE,
    VARIANTS,
    every_result,
    image,
    infer,
    sample,
    small_model,
    tiny_model,
)

from d2_psformer.utils.errors import NotFiniteError, UserError


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("is_training", [True, False])
def test_an_image_that_is_not_finite_is_named(bad, is_training):
    model = tiny_model().train(is_training)
    batch = [sample(40, 50, [0, 3]), sample(40, 50, [1, 4])]
    batch[1]["image"] = batch[1]["image"].float()
    batch[1]["image"][0, 3, 4] = bad
    with pytest.raises(NotFiniteError, match=r"^Image 2 of 2 holds NaN or infinity"):
        model(batch)
    batch[1]["file_name"] = "photos/dark.tif"
    with pytest.raises(NotFiniteError, match=r"^Image 'photos/dark\.tif' holds NaN"):
        model(batch)


@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_scores_that_are_not_finite_are_named(name):
    model = tiny_model(**VARIANTS[name])
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    inputs = [{"image": image(40, 50), "file_name": "a.jpg"}]
    with pytest.raises(NotFiniteError, match=r"^Image 'a\.jpg' has class scores of NaN"):
        infer(model, *inputs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [x for x in EVERY_ARCHITECTURE if x not in SEMANTIC_ALONE])
def test_masks_that_are_not_finite_are_named(name, bad, monkeypatch):
    model = tiny_model(**every_result(name)).eval()
    predict = model.predict

    def with_one_bad_cell(images, padding):
        outputs = predict(images, padding)
        queries = list(outputs.queries.values())[-1]
        masks = queries.masks[-1].clone()
        masks[1, -1, 3, 4] = bad
        return replace(outputs, queries=outputs.queries | {"last": replace(queries, masks=[masks])})

    inputs = [{"image": image(40, 50)}, {"image": image(40, 50), "file_name": "a.jpg"}]
    assert len(infer(model, *inputs)) == 2
    monkeypatch.setattr(model, "predict", with_one_bad_cell)
    with pytest.raises(NotFiniteError, match=r"^Image 'a\.jpg' has masks of NaN or infinity"):
        infer(model, *inputs)


def test_large_numbers_are_finite(monkeypatch):
    """Their sum is not."""
    model = tiny_model(**VARIANTS["mask2former"])
    predict = model.predict

    def with_large_masks(images, padding):
        outputs = predict(images, padding)
        (queries,) = outputs.queries.values()
        masks = torch.full_like(queries.masks[-1], 1e38)
        return replace(outputs, queries={"queries": replace(queries, masks=[masks])})

    monkeypatch.setattr(model, "predict", with_large_masks)
    assert len(infer(model, {"image": image(40, 50)})) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_weights_of_half_precision_give_nearly_the_same(name, dtype):
    """Of the largest score, bfloat16 is off by 6 % at most, float16 by 1 %."""
    model = tiny_model(**every_result(name))
    expected = infer(model, {"image": image(64, 96)})[0]["sem_seg"]
    found = infer(model.to(dtype), {"image": image(64, 96)})[0]["sem_seg"]
    assert found.dtype == torch.float32
    bound = (0.06 if dtype == torch.bfloat16 else 0.01) * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


def test_weights_of_half_precision_are_not_trained():
    model = small_model().half().train()
    with pytest.raises(UserError, match=r"weights are torch\.float16, .* model\.float\(\)"):
        model([sample(40, 50, [0, 3])])

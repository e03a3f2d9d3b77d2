"""What is MaX-DeepLab's alone: the canvas, the heads, parts that training alone has."""

import math
from contextlib import nullcontext

import pytest
import torch
from small_models import (
    EVERY_RESULT,
    MAX_DEEPLAB,
    MAX_DEEPLAB_L,
    check_results,
    image,
    infer,
    sample,
    small_model,
    tiny_model,
)
from torch import nn

from d2_psformer.d2.utils import comm
from d2_psformer.modeling.backbone import fuse_batch_norms
from d2_psformer.modeling.backbone.frozen_norms import FrozenBatchNorm
from d2_psformer.modeling.outputs import SOFTMAX
from d2_psformer.utils.errors import UserError


@pytest.mark.parametrize(("size", "canvas"), [((33, 49), (33, 49)), ((34, 20), (49, 33))])
def test_sides_of_the_canvas_are_one_more_than_a_multiple_of_16(size, canvas):
    model = small_model(**MAX_DEEPLAB)
    x = model.normalizer([image(*size)]).tensor
    assert x.shape[2:] == canvas
    if size != canvas:
        assert not x[..., size[0] :, :].any(), "padding is the mean of the pixel values"


def test_outputs():
    model = tiny_model(**MAX_DEEPLAB)
    x = model.normalizer([image(64, 96)]).tensor
    in_training, after = model.predict(x), model.eval().predict(x)
    assert in_training.pixel_logits[0].shape == (1, 6, 17, 25)
    lengths = in_training.pixel_embedding.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert not after.pixel_logits and after.pixel_embedding is None
    queries = after.queries["queries"]
    assert queries.mask_kind == SOFTMAX
    assert queries.masks[0].shape == (1, 12, 17, 25) and queries.logits[0].shape == (1, 12, 6)


def test_fused_norms_give_the_same():
    model = tiny_model(**MAX_DEEPLAB).eval()
    x = model.normalizer([image(64, 96)]).tensor
    before = model.predict(x).queries["queries"]
    count = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    fuse_batch_norms(model)
    after = model.predict(x).queries["queries"]
    torch.testing.assert_close(after.masks, before.masks, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-3, atol=1e-4)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) < 0.4 * count


def test_untrained_queries_are_void_nine_times_out_of_ten():
    model = small_model(**MAX_DEEPLAB)
    nn.init.zeros_(model.class_head.weight)
    logits = model.class_head(torch.randn(1, 3, 20))
    assert logits.softmax(-1)[0, 0, -1].item() == pytest.approx(0.9)
    assert not model.class_head.bias.any() and model.class_head.void_logit == math.log(45)


def test_no_semantic_loss_no_semantic_head():
    model = tiny_model(**MAX_DEEPLAB, **{"MODEL.LOSS.SEMANTIC_WEIGHT": 0.0})
    assert model.semantic_head is None
    losses = model([sample(64, 64, [0, 3])])
    assert "loss_semantic" not in losses
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("loss", ["PQ", "MASK_ID", "INSTANCE"])
def test_without_a_loss(loss, monkeypatch):
    """A parameter without a gradient would stop several processes."""
    options = MAX_DEEPLAB | {f"MODEL.LOSS.{loss}_WEIGHT": 0.0}
    model = small_model(**options)
    sum(model([sample(30, 20, [0, 3])]).values()).backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert all("class" in name for name in idle) and bool(idle) == (loss == "PQ")
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    with pytest.raises(UserError, match="PQ_WEIGHT is 0") if idle else nullcontext():
        small_model(**options)


def with_crowds(classes: list[int], void: int) -> dict:
    """An image whose upper half has no segment: pixels of the class ``void``, or 255."""
    one = sample(40, 56, classes)
    one["instances"].gt_masks.tensor[:, :20] = False
    one["sem_seg"] = torch.full((40, 56), void)
    return one


@pytest.mark.parametrize(
    ("batch", "lost"),
    [
        ([with_crowds([], 255)], {"pq_mask", "mask_id", "instance", "semantic"}),
        ([with_crowds([], 0)], {"pq_mask", "mask_id", "instance"}),
        ([sample(40, 56, [0, 1, 2] * 5)], set()),
        ([sample(40, 56, [3, 4])], {"instance"}),
        ([sample(1, 1, [0]), sample(70, 33, [0, 3, 1]), sample(17, 90, [])], set()),
    ],
    ids=["void alone", "crowds alone", "15 things, 12 queries", "no things", "sizes"],
)
def test_ground_truth_of_any_kind(batch, lost):
    """Losses that have nothing to learn from are 0; all else is finite, in the results too."""
    model = tiny_model(**MAX_DEEPLAB | EVERY_RESULT)
    losses = model(batch)
    assert {name for name, loss in losses.items() if not loss} == {f"loss_{x}" for x in lost}
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    for result, one in zip(infer(model, *batch), batch, strict=True):
        check_results(result, one["image"].shape[1:])


@pytest.mark.parametrize("path", ["p2p", "p2m", "m2p", "m2m"])
def test_without_an_attention_path(path):
    paths = [other for other in ("p2p", "p2m", "m2p", "m2m") if other != path]
    model = small_model(**MAX_DEEPLAB, **{"MODEL.MAX_DEEPLAB.ATTENTION_PATHS": paths})
    sum(model([sample(30, 20, [0, 3])]).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    (result,) = infer(model, {"image": image(30, 20)})
    assert result["panoptic_seg"][0].shape == (30, 20)


@pytest.mark.parametrize("options", [MAX_DEEPLAB, MAX_DEEPLAB_L], ids=["S", "L"])
def test_one_small_image_trains_with_norms_that_learn(options):
    """Even of one pixel; the mean over the map is a single value, which has no variance."""
    model = small_model(**options)
    assert not any(isinstance(m, FrozenBatchNorm) for m in model.modules())
    sum(model([sample(1, 1, [3])]).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"MODEL.BACKBONE.NAME": "TimmBackbone"}, "MODEL.BACKBONE.NAME is 'TimmBackbone'"),
        ({"MODEL.CHECKPOINTING": ["pixel_decoder"]}, "MODEL.CHECKPOINTING is 'pixel_decoder'"),
        ({"MODEL.BACKBONE.FREEZE_AT": 2}, "does not read MODEL.BACKBONE.FREEZE_AT: "),
        (
            {"MODEL.TRANSFORMER_DECODER.HEADS": 3},
            "multiple of MODEL.TRANSFORMER_DECODER.HEADS, which",
        ),
        ({"MODEL.BACKBONE.NORM": "GN"}, "'GN'"),
        ({"MODEL.MAX_DEEPLAB.VARIANT": "XL"}, "^MODEL.MAX_DEEPLAB.VARIANT is 'XL'"),
        ({"MODEL.MAX_DEEPLAB.FEATURE_DIM": 0}, "^MODEL.MAX_DEEPLAB.FEATURE_DIM is 0: it must be"),
        ({"MODEL.TRANSFORMER_DECODER.NUM_QUERIES": 1}, "NUM_QUERIES is 1: it must be at least 2"),
        ({"MODEL.PIXEL_DECODER.DIM": 7}, "^MODEL.PIXEL_DECODER.DIM is 7: it must be at least 8"),
        ({"MODEL.PIXEL_DECODER.MASK_DIM": 0}, "^MODEL.PIXEL_DECODER.MASK_DIM is 0: it must be"),
        ({"MODEL.PIXEL_DECODER.DROPOUT": 1.0}, "^MODEL.PIXEL_DECODER.DROPOUT is 1.0: it must be"),
        (
            {"MODEL.LOSS.PQ_WEIGHT": 0.0, "MODEL.LOSS.MASK_ID_WEIGHT": 0.0},
            "^MODEL.LOSS.PQ_WEIGHT and MODEL.LOSS.MASK_ID_WEIGHT are 0: no masks would be learned",
        ),
    ],
)
def test_wrong_values_are_named(options, message):
    with pytest.raises(UserError, match=message):
        small_model(**MAX_DEEPLAB | options)

"""MaX-DeepLab's losses as a config describes them, and what is logged beside them."""

import pytest
import torch
from small_models import MAX_DEEPLAB, sample, small_config, small_model

from d2_psformer.d2.utils import EventStorage
from d2_psformer.modeling.criterion import (
    InstanceDiscrimination,
    MaskId,
    PQStyle,
    SemanticEntropy,
    Targets,
)
from d2_psformer.modeling.meta_arch.max_deeplab_losses import max_deeplab_criterion
from d2_psformer.modeling.meta_arch.training_metrics import log_mask_id_accuracy
from d2_psformer.utils.errors import UserError


def test_the_defaults_are_those_of_the_official_configs():
    assert max_deeplab_criterion(small_config()).terms == (
        PQStyle(3.0, 0.75, "void_share"),
        MaskId(0.3, 1.0),
        InstanceDiscrimination(1.0, 1.0, 0.3),
        SemanticEntropy(1.0, 1.0, 1.0, 4096),
    )


def test_every_key_is_read():
    node = {
        "POSITIVE_SHARE": 0.5,
        "NEGATIVE_WEIGHT": "constant",
        "TEMPERATURE": 0.1,
        "SMALL_THING_WEIGHT": 3.0,
        "SMALL_THING_AREA": 100,
        "HARDEST_PIXELS": 0.25,
    }
    weights = {"PQ_WEIGHT": 1.5, "MASK_ID_WEIGHT": 0.0, "SEMANTIC_WEIGHT": 2.0}
    cfg = small_config(
        **{f"MODEL.MAX_DEEPLAB.{key}": value for key, value in node.items()},
        **{f"MODEL.LOSS.{key}": value for key, value in weights.items()},
        **{"MODEL.LOSS.INSTANCE_WEIGHT": 0.5},
    )
    assert max_deeplab_criterion(cfg).terms == (
        PQStyle(1.5, 0.5, "constant"),
        InstanceDiscrimination(0.5, 0.25, 0.1),
        SemanticEntropy(2.0, 0.25, 3.0, 100),
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.LOSS.PQ_WEIGHT", -1.0),
        ("MODEL.MAX_DEEPLAB.POSITIVE_SHARE", 1.5),
        ("MODEL.MAX_DEEPLAB.NEGATIVE_WEIGHT", "none"),
        ("MODEL.MAX_DEEPLAB.TEMPERATURE", 0.0),
        ("MODEL.MAX_DEEPLAB.HARDEST_PIXELS", 2.0),
        ("MODEL.MAX_DEEPLAB.HARDEST_PIXELS", 0.0),
    ],
)
def test_wrong_values_are_named_with_their_node(key, value):
    with pytest.raises(UserError, match=rf"^{key.rpartition('.')[0]}: "):
        max_deeplab_criterion(small_config(**{key: value}))


def test_mask_id_accuracy_is_the_share_of_right_cells_of_matched_segments():
    """Two slots and two segments, the halves of 2 x 3 cells; a third segment has no slot."""
    rows = torch.zeros(5, 9, dtype=torch.long)
    rows[:, 4:], rows[:, 8:] = 1, 2
    target = Targets(
        classes=torch.zeros(3).long(),
        boxes=torch.zeros(3, 4),
        masks=rows == torch.arange(3)[:, None, None],
        is_thing=torch.ones(3).bool(),
        image_size=(5, 9),
    )
    masks = torch.zeros(1, 2, 2, 3)
    masks[0, 1, :, 0] = 1  # both cells of segment 0
    masks[0, 1, 0, 1] = 1  # one cell of segment 1
    match = torch.tensor([0, 1]), torch.tensor([1, 0])
    log_mask_id_accuracy(masks, [match], [target], 4)  # without a storage: nothing
    with EventStorage() as storage:
        log_mask_id_accuracy(masks, [(match[0][:0],) * 2], [target], 4)
        assert "mask_id_accuracy" not in storage.latest()
        log_mask_id_accuracy(masks, [match], [target], 4)
        assert storage.latest()["mask_id_accuracy"][0] == 0.75


def test_training_logs_the_accuracy_and_takes_images_without_segments():
    model = small_model(**MAX_DEEPLAB).train()
    with EventStorage() as storage:
        losses = model([sample(50, 70, [0, 3, 1, 4, 0]), sample(50, 70, [])])
        assert 0 <= storage.latest()["mask_id_accuracy"][0] <= 1
    assert len(losses) == 5 and all(losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with EventStorage() as storage:
        losses = model([sample(50, 70, []), sample(50, 70, [])])
        assert "mask_id_accuracy" not in storage.latest()
    assert [name for name, loss in losses.items() if loss] == ["loss_pq_class"]
    sum(losses.values()).backward()

"""Properties of MaX-DeepLab's losses; their values are compared in tests of the golden numbers."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_slots import parts, slot_outputs, slot_targets, small_criterion
from torch.utils._python_dispatch import TorchDispatchMode

from d2_psformer.modeling.criterion import (
    InstanceDiscrimination,
    MaskId,
    PQStyle,
    SemanticEntropy,
    Targets,
)
from d2_psformer.utils.errors import UserError

NAMES = ["loss_pq_class", "loss_pq_mask", "loss_mask_id", "loss_instance", "loss_semantic"]


def gradients(losses: dict, outputs) -> dict[str, torch.Tensor]:
    """Of the sum of the losses; every output has one."""
    tensors = parts(outputs)
    return dict(
        zip(tensors, torch.autograd.grad(sum(losses.values()), tensors.values()), strict=True)
    )


# ---------------------------------------------------------------- what changes nothing


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(9)), st.permutations(range(5)), st.integers(0, 99))
def test_the_order_of_slots_and_segments_does_not_matter(slots, rows, seed):
    torch.manual_seed(seed)
    outputs, target = slot_outputs(1), slot_targets(0, 3, 1, 0, 5)
    losses = small_criterion()(outputs, [target])
    [queries] = outputs.queries.values()
    queries = replace(
        queries,
        logits=[queries.logits[-1][:, list(slots)]],
        masks=[queries.masks[-1][:, list(slots)]],
    )
    permuted = replace(outputs, queries={"queries": queries})
    torch.testing.assert_close(
        small_criterion()(permuted, [target[torch.tensor(rows)]]), losses, rtol=1e-5, atol=1e-6
    )


def test_a_batch_has_the_mean_of_its_images():
    outputs, targets = slot_outputs(2), [slot_targets(0, 3, 1), slot_targets(4)]
    losses = small_criterion()(outputs, targets)
    singles = []
    for image, target in enumerate(targets):
        one = {name: x[image : image + 1] for name, x in parts(outputs).items()}
        singles.append(small_criterion()(with_parts(outputs, **one), [target]))
    assert list(losses) == NAMES
    for name, loss in losses.items():
        torch.testing.assert_close(loss, (singles[0][name] + singles[1][name]) / 2)


def with_parts(outputs, *, logits, masks, pixel_logits, embedding):
    queries = replace(outputs.queries["queries"], logits=[logits], masks=[masks])
    return replace(
        outputs,
        queries={"queries": queries},
        pixel_logits=[pixel_logits],
        pixel_embedding=embedding,
    )


def test_segments_without_a_cell_change_nothing():
    outputs, target = slot_outputs(1), slot_targets(0, 3, 1)
    with_unseen = target[torch.tensor([0, 1, 0, 2])]
    with_unseen.masks[2] = False
    with_unseen.masks[2, 1:4, 1:4] = True  # between the cells
    with_unseen = replace(with_unseen, sem_seg=target.semantic)
    criterion = small_criterion()
    [(_, segments)] = criterion.match(outputs, [with_unseen])
    assert sorted(segments.tolist()) == [0, 1, 3]
    torch.testing.assert_close(criterion(outputs, [with_unseen]), criterion(outputs, [target]))


def test_a_cell_of_two_segments_belongs_to_the_first():
    target = slot_targets(0, 3, 1)
    overlapping = replace(target, masks=target.masks.cumsum(0).bool())
    outputs, criterion = slot_outputs(1), small_criterion()
    torch.testing.assert_close(criterion(outputs, [overlapping]), criterion(outputs, [target]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_compared_in_full(dtype):
    outputs, targets = slot_outputs(2), [slot_targets(0, 3, 1), slot_targets(4)]
    half = {name: x.detach().to(dtype).requires_grad_() for name, x in parts(outputs).items()}
    whole = {name: x.detach().float().requires_grad_() for name, x in half.items()}
    half, whole = (with_parts(outputs, **x) for x in (half, whole))
    with torch.autocast("cpu", torch.bfloat16):
        losses = small_criterion()(half, targets)
    expected = small_criterion()(whole, targets)
    torch.testing.assert_close(losses, expected)
    expected = {name: x.to(dtype) for name, x in gradients(expected, whole).items()}
    torch.testing.assert_close(gradients(losses, half), expected)


def test_huge_half_precision_logits_have_finite_losses_and_gradients():
    outputs, target = slot_outputs(1), slot_targets(0, 3, 1)
    with torch.no_grad():
        huge = {
            name: (x if name == "embedding" else 60000 * x.sign()).half()
            for name, x in parts(outputs).items()
        }
    huge = with_parts(outputs, **{name: x.requires_grad_() for name, x in huge.items()})
    losses = small_criterion()(huge, [target])
    assert all(loss.isfinite() for loss in losses.values())
    assert all(x.isfinite().all() for x in gradients(losses, huge).values())


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("count", [1, 2])
def test_images_of_void_alone_teach_no_object(count):
    """Without masks and labels the losses but that of the classes are 0; so are their gradients."""
    outputs, targets = slot_outputs(count), [slot_targets()] * count
    assert all(len(slots) == 0 for slots, _ in small_criterion().match(outputs, targets))
    losses = small_criterion()(outputs, targets)
    assert [name for name, loss in losses.items() if loss] == ["loss_pq_class"]
    for name, gradient in gradients(losses, outputs).items():
        assert gradient.any() == (name == "logits"), name


def test_crowds_alone_have_a_semantic_loss():
    outputs, target = slot_outputs(1), slot_targets()
    target = replace(target, sem_seg=torch.zeros_like(target.semantic))
    losses = small_criterion()(outputs, [target])
    assert losses["loss_semantic"] > 0
    assert losses["loss_pq_mask"] == losses["loss_mask_id"] == losses["loss_instance"] == 0
    # Nothing is void: the unmatched slots hardly learn.
    assert 0 < losses["loss_pq_class"] < 1e-3


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_segments_beyond_the_number_of_slots_are_left_out(slots):
    """They are negatives of the instance loss; their classes and cells teach the slots nothing."""
    outputs, target = slot_outputs(1, slots=slots), slot_targets(0, 3, 1, 0, 5)
    criterion = small_criterion()
    [(queries, segments)] = criterion.match(outputs, [target])
    assert queries.tolist() == list(range(slots)) and len(segments) == slots
    losses = criterion(outputs, [target])
    assert list(losses) == NAMES
    assert all(gradient.isfinite().all() for gradient in gradients(losses, outputs).values())
    masks = target.masks[:, ::4, ::4]
    rest = masks.any(0) & ~masks[segments].any(0)
    losses = criterion(outputs, [target])
    [gradient] = torch.autograd.grad(losses["loss_mask_id"], [parts(outputs)["masks"]])
    assert rest.any() and not gradient[0][:, rest].any()


def test_stuff_alone_has_no_instance_loss():
    outputs = slot_outputs(1)
    losses = small_criterion()(outputs, [slot_targets(3, 5, 6)])
    assert [name for name, loss in losses.items() if not loss] == ["loss_instance"]
    assert not gradients(losses, outputs)["embedding"].any()


def test_a_single_thing_has_no_instance_loss_either():
    outputs = slot_outputs(1)
    assert small_criterion()(outputs, [slot_targets(1)])["loss_instance"] == 0


@pytest.mark.parametrize("name", ["logits", "masks"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_are_refused(name, value):
    outputs = slot_outputs(1)
    with torch.no_grad():
        parts(outputs)[name][0, 0] = value
    with pytest.raises(UserError, match="not finite, first that of masks or classes"):
        small_criterion()(outputs, [slot_targets(0, 3)])


# ---------------------------------------------------------------- size


class LargestTensor(TorchDispatchMode):
    """Records the number of values of the largest tensor that is made."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        tensors = result if isinstance(result, tuple | list) else [result]
        self.values = max([self.values, *(x.numel() for x in tensors if torch.is_tensor(x))])
        return result


def test_coco_size_never_needs_slots_by_segments_by_cells():
    """128 slots and 181 segments, more than slots, of 133 classes."""
    side, slots, segments, classes = 33, 128, 181, 133
    outputs = slot_outputs(1, slots, (side, side), classes)
    cells = torch.randint(segments, (side, side)).repeat_interleave(4, 0).repeat_interleave(4, 1)
    target = Targets(
        classes=torch.arange(segments) % classes,
        boxes=torch.zeros(segments, 4),
        masks=cells == torch.arange(segments)[:, None, None],
        is_thing=torch.arange(segments) < 128,
        image_size=(4 * side, 4 * side),
        sem_seg=cells % classes,
    )
    with LargestTensor() as largest:
        losses = small_criterion()(outputs, [target])
        found = gradients(losses, outputs)
    assert list(losses) == NAMES and all(losses.values())
    assert all(gradient.isfinite().all() for gradient in found.values())
    # The largest one is a view of the masks of the canvas; 16 pixels are a cell.
    assert largest.values <= 16 * segments * side**2 < slots * segments * side**2


# ---------------------------------------------------------------- options


def test_a_weight_of_zero_leaves_a_loss_out():
    outputs, target = slot_outputs(1), slot_targets(0, 3)
    criterion = small_criterion(PQStyle(0.0), MaskId(0.3), SemanticEntropy(0.0))
    outputs = replace(outputs, pixel_logits=[], pixel_embedding=None)
    assert list(criterion(outputs, [target])) == ["loss_mask_id"]


def test_weights_are_factors():
    outputs, target = slot_outputs(1), slot_targets(0, 3)
    single, double = (
        small_criterion(PQStyle(w), MaskId(w), InstanceDiscrimination(w), SemanticEntropy(w))
        for w in (1.0, 2.0)
    )
    doubled = {name: 2 * loss for name, loss in single(outputs, [target]).items()}
    torch.testing.assert_close(double(outputs, [target]), doubled)

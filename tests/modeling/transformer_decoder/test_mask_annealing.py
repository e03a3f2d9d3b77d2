"""Masked attention that ends in the course of training."""

import pytest
import torch

from d2_psformer.d2.utils import EventStorage
from d2_psformer.modeling.transformer_decoder import MaskAnnealing
from d2_psformer.utils.errors import UserError

SCHEDULE = [(10, 20), (20, 40)]


def at(iteration: int) -> MaskAnnealing:
    annealing = MaskAnnealing(SCHEDULE)
    with EventStorage(iteration):
        annealing.update()
    return annealing


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, [1, 1]),
        (10, [1, 1]),
        (15, [0.5**0.9, 1]),
        (19, [0.1**0.9, 1]),
        (20, [0, 1]),
        (35, [0, 0.25**0.9]),
        (40, [0, 0]),
        (99, [0, 0]),
    ],
)
def test_probabilities_follow_the_formula(iteration, expected):
    annealing = at(iteration)
    assert annealing.probabilities.tolist() == pytest.approx(expected)
    assert annealing.masked == [probability > 0 for probability in expected]


def test_inference_does_what_the_file_says():
    annealing = MaskAnnealing(SCHEDULE)
    assert not any(annealing.is_masked(block, training=False) for block in (0, 1))
    annealing.load_state_dict(at(30).state_dict())
    assert [annealing.is_masked(block, training=False) for block in (0, 1)] == [False, True]
    assert all(annealing.is_masked(block, training=True) for block in (0, 1))


def test_without_a_trainer_nothing_changes():
    annealing = at(30)
    annealing.update()
    assert torch.equal(annealing.probabilities, at(30).probabilities)


def test_queries_are_released_as_a_whole_and_as_often_as_said():
    torch.manual_seed(0)
    outside = torch.rand(20, 500, 8) < 0.5
    outside[..., 0] = True
    closed = at(15)(outside, block=0)
    kept = closed[..., 0]
    assert torch.equal(closed, outside & kept[..., None])
    assert float(kept.float().mean()) == pytest.approx(0.5**0.9, abs=0.02)
    assert torch.equal(at(15)(outside, block=1), outside)
    assert not at(20)(outside, block=0).any()


def test_an_empty_schedule_masks_nothing():
    annealing = MaskAnnealing([])
    with EventStorage(5):
        annealing.update()
    assert not annealing.is_masked(0, training=True)


@pytest.mark.parametrize("entry", [[5, 5], [7, 5], [-1, 5], [5]])
def test_wrong_schedules_are_named(entry):
    with pytest.raises(UserError, match=r"MASK_ANNEALING has \[.*a later one"):
        MaskAnnealing([entry])

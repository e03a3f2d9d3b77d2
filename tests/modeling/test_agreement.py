"""Two trainings that should agree do so: bit by bit, or within the bounds that stand here."""

import pytest
import torch
from scipy import optimize
from small_models import EVERY_ARCHITECTURE, VARIANTS, sample, tiny_model

from d2_psformer.engine.train_step import TrainStep

BATCH = [sample(64, 96, [0, 1, 3]), sample(64, 96, [2, 4], seed=1)]
STEPS = 2


def train(name: str, amp_dtype: torch.dtype | None = None) -> tuple[list[dict], dict]:
    """Metrics of every step, and the weights after the last."""
    dropout = {f"MODEL.{part}.DROPOUT": 0.1 for part in ("PIXEL_DECODER", "TRANSFORMER_DECODER")}
    model = tiny_model(**VARIANTS[name] | dropout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    step = TrainStep(model, optimizer, seed=3, amp_dtype=amp_dtype)
    return [step([BATCH], iteration) for iteration in range(STEPS)], model.state_dict()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_deterministic_algorithms_repeat_a_training_bit_by_bit(name, deterministic):
    (metrics, weights), (again, same) = train(name), train(name)
    assert metrics == again
    torch.testing.assert_close(weights, same, rtol=0, atol=0)


@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_threads_change_no_loss_by_more_than_a_thousandth(name, threads):
    found = []
    for count in (1, 4):
        torch.set_num_threads(count)
        found.append(train(name)[0])
    for one, several in zip(*found, strict=True):
        assert several == pytest.approx(one, rel=1e-3)


@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_bfloat16_changes_no_loss_by_more_than_a_tenth(name, monkeypatch):
    """For the same matches: rounding can change one of two equal costs, and a loss with it."""
    matches, match = [], optimize.linear_sum_assignment

    def record(cost):
        matches.append(match(cost))
        return matches[-1]

    monkeypatch.setattr(optimize, "linear_sum_assignment", record)
    in_float32 = train(name)[0]
    monkeypatch.setattr(optimize, "linear_sum_assignment", lambda cost: matches.pop(0))
    for full, mixed in zip(in_float32, train(name, torch.bfloat16)[0], strict=True):
        del full["grad_norm"], mixed["grad_norm"]
        assert mixed == pytest.approx(full, rel=0.1, abs=0.05)
    assert matches == []

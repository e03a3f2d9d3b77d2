"""The exponential moving average of weights: its numbers, what is saved, and resuming."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from dummy_processes import assert_equal_weights, weights_of
from dummy_training import RecordingTrainer, dummy_cfg
from small_models import VARIANTS, small_model

from d2_psformer.engine import Trainer
from d2_psformer.engine.weight_average import WeightAverage
from d2_psformer.utils.errors import UserError

DECAY = 0.75
OPTIONS = ("SOLVER.EMA_DECAY", DECAY, "SOLVER.MAX_ITER", 10, "SOLVER.STEPS", (6,))


class Following(RecordingTrainer):
    """Averages by the formula; the first weights are those after one iteration."""

    expected = None

    def run_step(self):
        super().run_step()
        state = {k: v.clone() for k, v in self.model.state_dict().items()}
        old = self.expected or state
        self.expected = {k: DECAY * old[k] + (1 - DECAY) * v for k, v in state.items()}


def test_what_is_evaluated_and_saved(tmp_path, monkeypatch):
    evaluated = []
    monkeypatch.setattr(
        "d2_psformer.engine.trainer.test", lambda cfg, model: evaluated.append(model)
    )
    trainer = Following(dummy_cfg(tmp_path, *OPTIONS))
    trainer.train()
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    torch.testing.assert_close(saved["model"], trainer.expected)
    state = saved["trainer"]["hooks"]["WeightAverage"]
    assert_equal_weights(state["weights"], trainer.model.state_dict())
    assert not torch.equal(state["weights"]["backbone.weight"], saved["model"]["backbone.weight"])
    assert evaluated == [trainer.evaluated]


def test_masks_of_eomt_are_those_of_the_iteration():
    model = small_model(**VARIANTS["eomt"])
    average = WeightAverage(model, 0.9)
    average.trainer = SimpleNamespace(model=model)
    for probabilities, masked in (([1.0, 0.5], [True, True]), ([0.0, 0.25], [False, True])):
        model.annealing.probabilities.copy_(torch.tensor(probabilities))
        average.after_step()
        assert average.averaged.annealing.probabilities.tolist() == probabilities
        assert average.averaged.annealing.masked == masked


def test_resumed_exactly(tmp_path):
    whole = RecordingTrainer(dummy_cfg(tmp_path / "whole", *OPTIONS))
    whole.train()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (tmp_path / "again" / "last_checkpoint").write_text("model_0000004.pth")
    again = RecordingTrainer(dummy_cfg(tmp_path / "again", *OPTIONS))
    again.resume_or_load(resume=True)
    again.train()
    assert again.losses == whole.losses[5:]
    assert_equal_weights(weights_of(tmp_path / "again"), weights_of(tmp_path / "whole"))


def test_it_needs_no_given_weights(tmp_path, said):
    """Its copy of the backbone is not frozen."""
    Trainer(dummy_cfg(tmp_path, *OPTIONS)).resume_or_load(resume=False)
    assert [line for line in said if "The backbone starts from random weights" in line]


def test_the_average_changes_no_training(tmp_path):
    losses = []
    for decay in (0.0, 0.9):
        trainer = RecordingTrainer(dummy_cfg(tmp_path, *OPTIONS, "SOLVER.EMA_DECAY", decay))
        trainer.train()
        losses.append(trainer.losses)
    assert losses[0] == losses[1]


def test_it_starts_from_given_weights(tmp_path):
    source = Trainer(dummy_cfg(tmp_path))
    with torch.no_grad():
        source.model.classifier.bias.fill_(3)
    source.checkpointer.save("start")
    weights = ("MODEL.WEIGHTS", str(tmp_path / "start.pth"), "SOLVER.BASE_LR", 1e-30)
    trainer = RecordingTrainer(dummy_cfg(tmp_path / "b", *OPTIONS, *weights))
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert trainer.model.classifier.bias.tolist() == [3, 3, 3]
    assert trainer.evaluated.classifier.bias.tolist() == [3, 3, 3]


def test_ids_and_counters_are_copied():
    model = torch.nn.BatchNorm1d(2)
    model.register_buffer("ids", torch.tensor([5, 117]), persistent=False)
    hook = WeightAverage(model, 0.999)
    hook.trainer = type("T", (), {"model": model})
    for _ in range(3):
        model(torch.randn(4, 2))
        hook.after_step()
    assert hook.averaged.ids.tolist() == [5, 117]
    assert hook.averaged.num_batches_tracked == 3


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_decay_out_of_range(tmp_path, decay):
    with pytest.raises(UserError, match=r"SOLVER\.EMA_DECAY"):
        Trainer(dummy_cfg(tmp_path, "SOLVER.EMA_DECAY", decay))

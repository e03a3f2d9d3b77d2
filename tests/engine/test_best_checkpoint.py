"""model_best.pth and early stopping follow the figures of the evaluations."""

import itertools
import json
import math

import pytest
import torch
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.utils.errors import UserError

OPTIONS = ("TEST.EVAL_PERIOD", 2, "SOLVER.MAX_ITER", 12, "SOLVER.STEPS", ())


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train with given results of the evaluations, one after the other."""

    def run(results, *opts, resume: bool = False) -> RecordingTrainer:
        results = iter(results)
        monkeypatch.setattr("d2_psformer.engine.trainer.test", lambda *_: next(results))
        trainer = RecordingTrainer(dummy_cfg(tmp_path, *OPTIONS, *opts))
        trainer.resume_or_load(resume=resume)
        trainer.train()
        return trainer

    return run


def panoptic(*values: float) -> list[dict]:
    return [{"panoptic_seg": {"SQ": 100 - value, "PQ": value}} for value in values]


def saved(folder) -> tuple[int, dict]:
    best = torch.load(folder / "model_best.pth", weights_only=True)
    assert "trainer" not in best, "it is for use, not for resuming"
    return best["iteration"], json.loads((folder / "evaluations.json").read_text())


def test_the_best_by_pq(train, tmp_path):
    trainer = train(panoptic(10, 30, 20, 30, 25, 5))
    iteration, evaluations = saved(tmp_path)
    values = {"1": 10, "3": 30, "5": 20, "7": 30, "9": 25, "11": 5}
    assert (iteration, evaluations) == (3, {"metric": "panoptic_seg/PQ", "values": values})
    assert len(trainer.losses) == 12
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


def test_the_last_evaluation_counts(train, tmp_path):
    train(panoptic(1, 2, 3, 4, 5, 6))
    assert saved(tmp_path)[0] == 11


@pytest.mark.parametrize(
    ("metric", "name", "best"),
    [("", "b/sem_seg/mIoU", 1), ("a/segm/AP", "a/segm/AP", 3), ("a/segm/AP50", "a/segm/AP50", 1)],
)
def test_other_figures(train, tmp_path, metric, name, best):
    results = [
        {"a": {"segm": {"AP": 10 + i, "AP50": 9 - i}}, "b": {"sem_seg": {"mIoU": 20 - i}}}
        for i in (0, 1, 0, 0, 0, 0)
    ]
    train(results, "SOLVER.BEST_METRIC", metric)
    iteration, evaluations = saved(tmp_path)
    assert (iteration, evaluations["metric"]) == (best, name)


def test_an_unknown_figure(train):
    with pytest.raises(UserError, match=r"BEST_METRIC is 'PQ'.*panoptic_seg/PQ"):
        train(panoptic(1, 2), "SOLVER.BEST_METRIC", "PQ")


def test_early_stopping_and_resuming(train, tmp_path):
    patience = "SOLVER.EARLY_STOPPING", 2
    trainer = train(panoptic(10, 30, 20, 30), *patience)
    assert len(trainer.losses) == 8
    final = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert final["iteration"] == 7
    assert saved(tmp_path)[0] == 3
    assert train([], *patience, resume=True).losses == [], "it had stopped"
    assert len(train(panoptic(40, 41), "SOLVER.EARLY_STOPPING", 3, resume=True).losses) == 4
    assert saved(tmp_path)[0] == 11


def test_a_new_run_in_the_same_folder_starts_from_nothing(train, tmp_path):
    train(panoptic(*[90] * 6))
    train(panoptic(1, 2, 3, 2, 1, 0))
    assert saved(tmp_path)[0] == 5


def test_results_after_the_last_checkpoint_are_found_anew(train, tmp_path):
    train(panoptic(1, 2, 3, 9, 1, 1))
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    train(panoptic(3, 9, 1, 1), resume=True)
    assert saved(tmp_path)[1]["values"] == {"1": 1, "3": 2, "5": 3, "7": 9, "9": 1, "11": 1}


def test_a_resumed_run_keeps_the_metric(train, tmp_path):
    train(panoptic(*[9] * 6), "SOLVER.BEST_METRIC", "panoptic_seg/SQ")
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    with pytest.raises(UserError, match=r"is 'panoptic_seg/PQ', but .*of 'panoptic_seg/SQ'"):
        train(panoptic(*[8] * 6), "SOLVER.BEST_METRIC", "panoptic_seg/PQ", resume=True)
    train(panoptic(8, 8, 8, 8), resume=True)
    assert saved(tmp_path)[1]["values"] == dict.fromkeys("13", 91) | dict.fromkeys(
        ("5", "7", "9", "11"), 92
    )


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{}", '{"metric": "a", "values": [1]}', '{"metric": "a", "values": {"1": null}}']
    + ['{"metric": "a", "values": {"b": 1}}', '{"metric": null, "values": {}}', "[" * 100_000]
    + [f'{{"metric": "a", "values": {{"1": 1{"0" * 400}}}}}'],
)
def test_figures_that_are_damaged(train, tmp_path, content):
    train(panoptic(*[9] * 6))
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth")
    (tmp_path / "evaluations.json").write_text(content)
    with pytest.raises(UserError, match=r"evaluations\.json' holds no figures"):
        train(panoptic(*[9] * 6), resume=True)


def test_a_figure_that_is_not_finite_is_no_best_one(train, tmp_path):
    train(panoptic(math.nan, 2, math.nan, 3, 1, 1))
    assert saved(tmp_path) == (
        7,
        {"metric": "panoptic_seg/PQ", "values": {"3": 2, "7": 3, "9": 1, "11": 1}},
    )


def test_data_without_ground_truth_and_few_evaluations(train, tmp_path):
    train(itertools.repeat({}))
    train(panoptic(1), "TEST.EVAL_PERIOD", 0)
    assert not (tmp_path / "model_best.pth").exists()
    with pytest.raises(UserError, match=r"TEST\.EVAL_PERIOD"):
        train(panoptic(1), "TEST.EVAL_PERIOD", 0, "SOLVER.EARLY_STOPPING", 1)

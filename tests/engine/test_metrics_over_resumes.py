"""metrics.json of a training in several parts is that of one in a single part."""

import json
from pathlib import Path

import pytest
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine.writers import MetricsFile

OPTIONS = ("SOLVER.MAX_ITER", 50, "TEST.EVAL_PERIOD", 7, "SOLVER.CHECKPOINT_PERIOD", 7)
TIMES = {"time", "data_time"}


class Killed(BaseException):
    pass


class MortalTrainer(RecordingTrainer):
    def __init__(self, cfg, dies_at: int = -1):
        super().__init__(cfg)
        self.dies_at = dies_at

    def run_step(self):
        if self.iter == self.dies_at:
            raise Killed
        super().run_step()


@pytest.fixture
def evaluated(monkeypatch):
    """Evaluations, whose figure follows from the weights; the one of a number dies in it."""
    seen = {"count": 0, "dies_at": -1}

    def test(cfg, model):
        seen["count"] += 1
        if seen["count"] == seen["dies_at"]:
            raise Killed
        return {"panoptic_seg": {"PQ": float(model.classifier.weight.detach().abs().sum())}}

    monkeypatch.setattr("d2_psformer.engine.trainer.test", test)
    return seen


def train(folder, *opts, resume: bool = False, dies_at: int = -1) -> RecordingTrainer:
    trainer = MortalTrainer(dummy_cfg(folder, *OPTIONS, *opts), dies_at)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def rows(folder) -> list[dict]:
    def refuse(constant: str):
        raise AssertionError(f"{constant} is no strict JSON")

    lines = Path(folder, "metrics.json").read_text().splitlines()
    entries = [json.loads(line, parse_constant=refuse) for line in lines]
    return [{k: v for k, v in entry.items() if k not in TIMES} for entry in entries]


def evaluations(folder) -> dict:
    return json.loads(Path(folder, "evaluations.json").read_text())


def test_rows_are_those_of_one_run(tmp_path, evaluated):
    train(tmp_path / "whole")
    whole = rows(tmp_path / "whole")
    numbers = [row["iteration"] for row in whole]
    assert numbers == [6, 13, 19, 20, 27, 34, 39, 41, 48, 49, 50]
    found = [row["iteration"] for row in whole if "panoptic_seg/PQ" in row]
    assert found == [6, 13, 20, 27, 34, 41, 48, 50]
    folder = tmp_path / "parts"
    for dies_at in (5, 9, 14, 21, 27, 40, 49):
        with pytest.raises(Killed):
            train(folder, resume=True, dies_at=dies_at)
    train(folder, resume=True)
    assert rows(folder) == whole
    assert evaluations(folder) == evaluations(tmp_path / "whole")
    train(folder, resume=True)
    assert rows(folder) == whole, "a finished run is evaluated again, in the same row"


def test_evaluations_that_were_killed_are_made_up_for(tmp_path, evaluated):
    train(tmp_path / "whole")
    folder = tmp_path / "parts"
    for number in (1, 2, 2, 4, 2, 2):
        evaluated.update(count=0, dies_at=number)
        with pytest.raises(Killed):
            train(folder, resume=True)
    evaluated.update(count=0, dies_at=-1)
    train(folder, resume=True)
    assert rows(folder) == rows(tmp_path / "whole")
    assert evaluations(folder) == evaluations(tmp_path / "whole")


def test_a_row_that_was_killed_behind_its_checkpoint_is_made_up_for(tmp_path, evaluated):
    train(tmp_path, "TEST.EVAL_PERIOD", 0, "SOLVER.CHECKPOINT_PERIOD", 10)
    whole = rows(tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000019.pth")
    (tmp_path / "metrics.json").write_text('{"iteration": 19, "total_l')
    train(tmp_path, "TEST.EVAL_PERIOD", 0, "SOLVER.CHECKPOINT_PERIOD", 10, resume=True)
    assert rows(tmp_path) == whole


def test_an_error_in_the_last_iteration_evaluates_nothing(tmp_path, evaluated):
    with pytest.raises(Killed):
        train(tmp_path, "TEST.EVAL_PERIOD", 0, dies_at=49)
    assert evaluated["count"] == 0


BAD = ("null", "true", '"a"', "-5", "2.5", "[]", "NaN")


def test_lines_that_are_damaged(tmp_path):
    path = tmp_path / "metrics.json"
    lines = ["[" * 100_000, "[1]", "3", '{"a": 2}', *(f'{{"iteration": {x}}}' for x in BAD)]
    path.write_text("\n".join([*lines, '{"iteration": 4, "a": 1.5}', '{"itera']))
    file = MetricsFile(str(path))
    file.resume(start_iter=9)
    assert path.read_text() == '{"a": 1.5, "iteration": 4}\n'
    assert file.last == 4


def test_numbers_that_json_lacks(tmp_path):
    file = MetricsFile(str(tmp_path / "metrics.json"))
    (tmp_path / "metrics.json").write_text('{"iteration": 1, "a": NaN}\n[1]\n{"iteration": 5}\n')
    file.resume(5)
    file.send(7, {"a": float("inf"), "b": 1.0})
    assert rows(tmp_path) == [
        {"iteration": 1, "a": None},
        {"iteration": 7, "a": None, "b": 1.0},
    ]

import json
import sys

import pytest
import torch
from dummy_training import DummyModel, Trainer, dummy_cfg, dummy_mapper, register_dummy

from d2_psformer import engine
from d2_psformer.d2.evaluation import DatasetEvaluator
from d2_psformer.engine.evaluate import check_evaluation
from d2_psformer.utils.errors import UserError

MODULE = sys.modules["d2_psformer.engine.evaluate"]


class CountingEvaluator(DatasetEvaluator):
    """Counts images; its "PQ" is ten times that."""

    def reset(self):
        self.ids = []

    def process(self, inputs, outputs):
        self.ids += [x["image_id"] for x, _ in zip(inputs, outputs, strict=True)]

    def evaluate(self):
        assert self.ids == list(range(10))
        return {"panoptic_seg": {"PQ": 10.0 * len(self.ids)}}


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """The data set of every evaluator that is built."""
    calls = []

    def build_evaluator(cfg, name):
        calls.append(name)
        return CountingEvaluator()

    monkeypatch.setattr(MODULE, "build_evaluator", build_evaluator)
    monkeypatch.setattr(
        "d2_psformer.engine.data_loader.SegmentMapper", lambda cfg, is_train: dummy_mapper
    )
    return calls


def cfg_of(folder, *opts):
    return dummy_cfg(folder, "DATASETS.TEST", ("dummy_train",), *opts)


def test_one_data_set(tmp_path, built):
    cfg = cfg_of(tmp_path)
    model = Trainer(cfg).model.train()
    assert engine.test(cfg, model) == {"panoptic_seg": {"PQ": 100.0}}
    assert built == ["dummy_train"]
    assert model.training


def test_several_data_sets(tmp_path):
    register_dummy("dummy_more")
    cfg = dummy_cfg(tmp_path, "DATASETS.TEST", ("dummy_train", "dummy_more"))
    figures = {"panoptic_seg": {"PQ": 100.0}}
    expected = {"dummy_train": figures, "dummy_more": figures}
    assert engine.test(cfg, Trainer(cfg).model) == expected


def test_training_evaluates_between_and_at_the_end(tmp_path, built):
    trainer = Trainer(cfg_of(tmp_path, "TEST.EVAL_PERIOD", 8), mapper=dummy_mapper)
    assert trainer.train() == {"panoptic_seg": {"PQ": 100.0}}
    assert len(built) == 1 + 3  # the first is the check before training
    lines = [json.loads(x) for x in (tmp_path / "metrics.json").read_text().splitlines()]
    found = {line["iteration"]: line.get("panoptic_seg/PQ") for line in lines}
    assert found[20] == 100.0


def test_evaluation_in_between_changes_no_weight(tmp_path):
    weights = []
    for period in (0, 3):
        trainer = Trainer(cfg_of(tmp_path, "TEST.EVAL_PERIOD", period), mapper=dummy_mapper)
        trainer.train()
        weights.append(trainer.model.classifier.weight)
    assert torch.equal(*weights)


def test_what_an_evaluation_lacks_is_told_before_training(tmp_path, monkeypatch):
    def build_evaluator(cfg, name):
        raise FileNotFoundError(f"JSON file of '{name}' does not exist.")

    monkeypatch.setattr(MODULE, "build_evaluator", build_evaluator)
    trainer = Trainer(cfg_of(tmp_path), mapper=dummy_mapper)
    with pytest.raises(FileNotFoundError, match="'dummy_train' does not exist"):
        trainer.train()
    assert not (tmp_path / "last_checkpoint").exists()


def test_evaluation_alone(tmp_path, monkeypatch):
    source = Trainer(cfg_of(tmp_path))
    with torch.no_grad():
        source.model.classifier.bias.fill_(3)
    source.checkpointer.save("model_final", iteration=19)
    seen = []
    monkeypatch.setattr(MODULE, "test", lambda cfg, model: seen.append(model) or {})
    cfg = cfg_of(tmp_path, "MODEL.WEIGHTS", str(tmp_path / "model_final.pth"))
    engine.evaluate(cfg)
    engine.evaluate(cfg_of(tmp_path), resume=True)
    for model in seen:
        assert isinstance(model, DummyModel)
        assert model.classifier.bias.tolist() == [3, 3, 3]


def test_evaluation_alone_without_weights_or_data(tmp_path):
    with pytest.raises(ValueError, match=r"no weights.*MODEL\.WEIGHTS"):
        engine.evaluate(cfg_of(tmp_path), resume=True)
    with pytest.raises(ValueError, match=r"DATASETS\.TEST is empty"):
        engine.evaluate(dummy_cfg(tmp_path))


def test_expected_results(tmp_path):
    Trainer(cfg_of(tmp_path)).checkpointer.save("model_final")
    cfg = cfg_of(tmp_path)
    cfg.TEST.EXPECTED_RESULTS = [["panoptic_seg", "PQ", 99.0, 2.0]]
    assert engine.evaluate(cfg, resume=True)
    cfg.TEST.EXPECTED_RESULTS = [["panoptic_seg", "PQ", 50.0, 2.0]]
    with pytest.raises(SystemExit):
        engine.evaluate(cfg, resume=True)


def test_expected_results_of_what_is_not_evaluated(tmp_path):
    Trainer(cfg_of(tmp_path)).checkpointer.save("model_final")
    cfg = cfg_of(tmp_path)
    cfg.TEST.EXPECTED_RESULTS = [["segm", "AP", 99.0, 2.0]]
    with pytest.raises(UserError, match="figures of 'segm', but the results have panoptic_seg"):
        engine.evaluate(cfg, resume=True)
    cfg.DATASETS.TEST = (cfg.DATASETS.TEST[0],) * 2
    with pytest.raises(UserError, match=r"EXPECTED_RESULTS is for one data set"):
        check_evaluation(cfg)

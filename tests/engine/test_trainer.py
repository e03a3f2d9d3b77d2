import json
import logging

import pytest
import torch
from dummy_training import RecordingTrainer, dummy_cfg, dummy_mapper, register_dummy

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.utils import EventStorage
from d2_psformer.engine import Trainer, class_metadata
from d2_psformer.engine.writers import MetricPrinter
from d2_psformer.utils.errors import UserError


def test_what_a_run_leaves(tmp_path):
    trainer = RecordingTrainer(dummy_cfg(tmp_path))
    trainer.resume_or_load(resume=True)
    assert trainer.train() == {}
    names = {path.name for path in tmp_path.iterdir()}
    assert {"metrics.json", "last_checkpoint", "model_0000004.pth", "model_final.pth"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    line = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    wanted = {"total_loss", "loss_class", "loss_class_0", "class_score", "grad_norm", "lr", "time"}
    assert wanted | {"data_time", "iteration"} <= set(line)
    assert line["iteration"] == 19
    assert line["lr"] == pytest.approx(0.01 * 0.1)


def test_the_rate_follows_the_schedule(tmp_path):
    trainer = RecordingTrainer(dummy_cfg(tmp_path))
    trainer.train()
    rates = [value for value, _ in trainer.storage.history("lr").values()]
    assert rates[3:15] == pytest.approx([0.01] * 12)
    assert rates[15:] == pytest.approx([0.001] * 5)
    assert rates[0] < rates[1] < rates[2] < 0.01


def test_the_model_starts_from_the_seed(tmp_path):
    first, second = (Trainer(dummy_cfg(tmp_path)).model.state_dict() for _ in range(2))
    other = Trainer(dummy_cfg(tmp_path, "SEED", 8)).model.state_dict()
    assert torch.equal(first["classifier.weight"], second["classifier.weight"])
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_weights_to_start_from(tmp_path):
    source = Trainer(dummy_cfg(tmp_path / "a"))
    with torch.no_grad():
        source.model.classifier.bias.fill_(3)
    source.checkpointer.save("start", iteration=12)
    trainer = Trainer(dummy_cfg(tmp_path / "b", "MODEL.WEIGHTS", str(tmp_path / "a" / "start.pth")))
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 0
    assert trainer.model.classifier.bias.tolist() == [3, 3, 3]


def test_bad_steps_are_left_out_and_counted(tmp_path):
    def mapper(record: dict) -> dict:
        sample = dummy_mapper(record)
        return {**sample, "image": sample["image"] / (record["image_id"] != 3)}  # 3: Inf

    trainer = Trainer(dummy_cfg(tmp_path, "SOLVER.MAX_BAD_STEPS", 5), mapper)
    trainer.train()
    line = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert 0 < line["bad_steps"] < 20
    assert all(x.isfinite().all() for x in trainer.model.state_dict().values())

    resumed = Trainer(dummy_cfg(tmp_path, "SOLVER.MAX_BAD_STEPS", 5), mapper)
    resumed.resume_or_load(resume=True)
    assert resumed.train_step.bad_steps == trainer.train_step.bad_steps
    with pytest.raises(UserError, match=r"SOLVER\.MAX_BAD_STEPS is -1"):
        Trainer(dummy_cfg(tmp_path, "SOLVER.MAX_BAD_STEPS", -1))


def test_pretrained_backbones_are_for_fresh_runs(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "d2_psformer.engine.trainer.load_pretrained_backbone", lambda *args: calls.append(args)
    )
    cfg = dummy_cfg(tmp_path)
    first = Trainer(cfg)
    first.resume_or_load(resume=True)
    assert calls == [(first.model, cfg)]
    first.checkpointer.save("model_0000004", iteration=4)
    weights = str(tmp_path / "model_0000004.pth")
    Trainer(cfg).resume_or_load(resume=True)
    Trainer(dummy_cfg(tmp_path, "MODEL.WEIGHTS", weights)).resume_or_load(resume=False)
    assert len(calls) == 1


def test_data_sets_of_other_classes(tmp_path):
    register_dummy("dummy_other", things=5, stuff=4)
    cfg = dummy_cfg(tmp_path, "DATASETS.TEST", ("dummy_other",))
    with pytest.raises(ValueError, match=r"'dummy_other' and data set 'dummy_train' differ"):
        Trainer(cfg)
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        Trainer(dummy_cfg(tmp_path, "DATASETS.TRAIN", ()))


@pytest.fixture
def rotated():
    """A data set with the classes of "dummy_train", two of which have exchanged their ids."""
    name = "dummy_rotated"
    register_dummy("dummy_train")
    DatasetCatalog.register(name, lambda: DatasetCatalog.get("dummy_train"))
    MetadataCatalog.get(name).set(
        thing_classes=["class1", "class0"],
        stuff_classes=["class1", "class0", "class2"],
        thing_dataset_id_to_contiguous_id={1: 0, 2: 1},
        stuff_dataset_id_to_contiguous_id={1: 0, 2: 1, 3: 2},
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.mark.parametrize("resume", [False, True])
def test_data_are_numbered_as_the_checkpoint_numbers_them(tmp_path, rotated, resume):
    first = Trainer(dummy_cfg(tmp_path))
    first.checkpointer.save("model_0000004", iteration=4)
    weights = str(tmp_path / "model_0000004.pth")
    trainer = Trainer(dummy_cfg(tmp_path, "DATASETS.TRAIN", (rotated,), "MODEL.WEIGHTS", weights))
    trainer.resume_or_load(resume=resume)
    known = MetadataCatalog.get(rotated)
    assert known.stuff_classes == ["class0", "class1", "class2"]
    assert known.thing_dataset_id_to_contiguous_id == {2: 0, 1: 1}
    assert trainer.checkpointer.metadata == class_metadata(rotated)


def test_several_training_sets_are_numbered_alike(tmp_path, rotated):
    Trainer(dummy_cfg(tmp_path, "DATASETS.TRAIN", ("dummy_train", rotated)))
    assert MetadataCatalog.get(rotated).stuff_classes == ["class0", "class1", "class2"]


def test_batches_that_do_not_come_out_even(tmp_path):
    with pytest.raises(ValueError, match="IMS_PER_BATCH is 4"):
        Trainer(dummy_cfg(tmp_path, "SOLVER.ACCUMULATION_STEPS", 3))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("DATASETS.TRAIN", "('dummy_tran',)", "'dummy_tran' is unknown: use one of dummy_train"),
        ("DATASETS.TEST", "('dummy_tran',)", "'dummy_tran' is unknown: use one of dummy_train"),
        ("SOLVER.LR_SCHEDULER_NAME", "WarmupLR", "WarmupLR"),
        ("SOLVER.STEPS", (3, 3), r"no learning-rate schedule .*check SOLVER\.STEPS, which must"),
    ],
)
def test_unknown_names_in_the_config(tmp_path, key, value, sentence):
    with pytest.raises(UserError, match=sentence):
        Trainer(dummy_cfg(tmp_path, key, value))


def test_the_config_is_saved_when_training_starts_and_not_before(tmp_path, monkeypatch):
    RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.MAX_ITER", 1)).train()
    first = (tmp_path / "config.yaml").read_text()
    assert "MAX_ITER: 1\n" in first
    trainer = Trainer(dummy_cfg(tmp_path))  # whose images have no ground truth
    with pytest.raises(UserError, match="no ground truth"):
        trainer.train()
    trainer = Trainer(dummy_cfg(tmp_path, "MODEL.WEIGHTS", "nowhere.pth"))
    with pytest.raises(UserError, match=r"nowhere\.pth"):
        trainer.resume_or_load(resume=False)
    assert (tmp_path / "config.yaml").read_text() == first


def test_a_loss_that_is_not_finite_ends_training(tmp_path):
    trainer = RecordingTrainer(dummy_cfg(tmp_path))
    with torch.no_grad():
        trainer.model.classifier.weight[0, 0] = float("nan")
    with pytest.raises(UserError, match="'loss_class' became nan at iteration 0"):
        trainer.train()
    assert not (tmp_path / "model_final.pth").exists()


@pytest.mark.parametrize("clip_type", ["norm", "value", None])
def test_gradients_that_are_not_finite_leave_no_checkpoint(tmp_path, clip_type):
    cfg = dummy_cfg(tmp_path, "SOLVER.CLIP_GRADIENTS.ENABLED", clip_type is not None)
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type or "value"
    trainer = RecordingTrainer(cfg)
    trainer.model.backbone.weight.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(UserError, match=r"gradient of 'backbone\.weight'.*iteration 0"):
        trainer.train()
    assert not (tmp_path / "last_checkpoint").exists()


@pytest.fixture
def printed():
    """Lines that MetricPrinter logs, whatever other tests did to the loggers."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MetricPrinter(10).logger
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_line_on_the_terminal(printed):
    with EventStorage(4) as storage:
        storage.put_scalars(total_loss=3.0, loss_dice=2.0, loss_dice_0=1.0, mask_dice=0.4)
        storage.put_scalars(class_score=0.25, other=1.0, time=2.0)
        storage.put_scalar("lr", 1e-4, smoothing_hint=False)
        MetricPrinter(10).write()
        storage.iter = 10
        MetricPrinter(10).write()
    (line,) = printed
    parts = ("eta: 0:00:10", "iter: 4", "total_loss: 3", "loss_dice: 2", "mask_dice: 0.4")
    for part in (*parts, "class_score: 0.25", "time: 2", "lr: 0.0001", "max_mem: "):
        assert part in line
    assert "loss_dice_0" not in line
    assert "other" not in line
    assert 10 < int(line.rpartition("max_mem: ")[2].removesuffix("M")) < 1e6


def test_the_first_line_has_no_time_yet(printed):
    with EventStorage(0) as storage:
        storage.put_scalar("total_loss", 1.0)
        MetricPrinter(10).write()
    assert printed[0].startswith("iter: 0  total_loss: 1")


@pytest.mark.parametrize(("expected", "status"), [(50.0, None), (99.0, 1)])
def test_the_last_results_are_compared_with_the_expected_ones(
    tmp_path, monkeypatch, expected, status
):
    """As in Detectron2, after the last checkpoint."""
    results = {"panoptic_seg": {"PQ": 51.0}}
    monkeypatch.setattr("d2_psformer.engine.trainer.test", lambda *_: results)
    options = "TEST.EVAL_PERIOD", 10, "TEST.EXPECTED_RESULTS"
    cfg = dummy_cfg(tmp_path, *options, [["panoptic_seg", "PQ", expected, 2.0]])
    if status is None:
        assert RecordingTrainer(cfg).train() == results
    else:
        with pytest.raises(SystemExit) as caught:
            RecordingTrainer(cfg).train()
        assert caught.value.code == status
    assert (tmp_path / "model_final.pth").exists()

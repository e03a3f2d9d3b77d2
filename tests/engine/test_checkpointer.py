import os
import pickle
import signal

import pytest
import torch
from dummy_training import dummy_cfg, register_dummy
from torch import nn

from d2_psformer.d2 import BACKEND
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.engine import (
    AtomicCheckpointer,
    Trainer,
    class_metadata,
    restore_class_metadata,
)
from d2_psformer.engine.output_folder import claim_folder, release_folder
from d2_psformer.utils.errors import UserError

register_dummy("dummy_train")
METADATA = class_metadata("dummy_train")


def model_of(seed: int, width: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def checkpointer_of(model: nn.Module, folder="", **options) -> AtomicCheckpointer:
    return AtomicCheckpointer(model, str(folder), metadata=METADATA, **options)


def test_what_a_checkpoint_of_the_trainer_holds(tmp_path):
    trainer = Trainer(dummy_cfg(tmp_path, "SOLVER.AMP.ENABLED", True))
    trainer.checkpointer.save("model_0000000", iteration=0)
    saved = torch.load(tmp_path / "model_0000000.pth", weights_only=True)
    assert set(saved) == {"model", "trainer", "iteration", "metadata", "config"}
    own = {"optimizer", "grad_scaler", "bad_steps", "seed", "run", "history"}
    assert set(saved["trainer"]) == {"iteration", "hooks"} | own
    assert "last_epoch" in saved["trainer"]["hooks"]["LRScheduler"]
    assert saved["metadata"]["name"] == "dummy_train"
    assert saved["metadata"]["stuff_classes"] == ["class0", "class1", "class2"]
    assert saved["metadata"]["thing_dataset_id_to_contiguous_id"] == {1: 0, 2: 1}
    assert not list(tmp_path.glob(".*"))


def save_until_killed(checkpointer: AtomicCheckpointer, monkeypatch) -> None:
    """Fork a process that is killed in the middle of ``torch.save``."""

    def half_a_file(data, file):
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(torch, "save", half_a_file)
    if (child := os.fork()) == 0:
        checkpointer.save("model_final", iteration=9)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    monkeypatch.undo()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_while_saving_leaves_the_old_files(tmp_path, monkeypatch):
    checkpointer = checkpointer_of(model_of(0), tmp_path)
    checkpointer.save("model_final", iteration=4)
    before = (tmp_path / "model_final.pth").read_bytes()
    save_until_killed(checkpointer, monkeypatch)
    assert (tmp_path / "model_final.pth").read_bytes() == before
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    assert list(tmp_path.glob(".*.tmp.pth"))
    claim_folder(str(tmp_path), resume=True)
    release_folder(str(tmp_path))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model_final.pth", "last_checkpoint", ".lock"}, "the rest is swept away"


def test_an_error_while_saving_leaves_the_old_files(tmp_path, monkeypatch):
    checkpointer = checkpointer_of(model_of(0), tmp_path)
    checkpointer.save("a")
    before = (tmp_path / "a.pth").read_bytes()

    def full_disk(data, file):
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpointer.save("a")
    assert (tmp_path / "a.pth").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.pth", "last_checkpoint"}


def expect_refusal(path, model: nn.Module, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        checkpointer_of(model).load(str(path))
    for word in (os.path.basename(path), *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_shape(tmp_path):
    checkpointer_of(model_of(0, width=4), tmp_path).save("a")
    expect_refusal(tmp_path / "a.pth", model_of(0), "'0.weight'", "(4, 2)", "(3, 2)", "FINETUNE")


def test_a_number_in_place_of_rows(tmp_path):
    model = nn.ModuleDict({"rows": nn.Linear(1, 2)})
    model.class_rows = lambda classes: {"rows": range(2)}
    weights = {**model.state_dict(), "rows.bias": torch.tensor(1.0)}
    torch.save({"model": weights}, tmp_path / "a.pth")
    expect_refusal(tmp_path / "a.pth", model, "'rows.bias' is () there and (2,)")


def test_missing_and_unknown_keys(tmp_path):
    checkpointer_of(model_of(0)[:1], tmp_path).save("less")
    expect_refusal(tmp_path / "less.pth", model_of(0), "'1.weight'", "missing there", "(1, 3)")
    checkpointer_of(nn.Sequential(*model_of(0), nn.Linear(1, 7)), tmp_path).save("more")
    expect_refusal(tmp_path / "more.pth", model_of(0), "'2.weight'", "(7, 1)")


def test_whole_numbers_in_place_of_weights(tmp_path):
    weights = {k: v.to(torch.int8) for k, v in model_of(0).state_dict().items()}
    torch.save({"model": weights}, tmp_path / "a.pth")
    expect_refusal(tmp_path / "a.pth", model_of(0), "torch.int8", "torch.float32", "quantized")


def test_other_classes_are_refused_before_keys(tmp_path):
    register_dummy("dummy_other", things=5, stuff=4)
    other = AtomicCheckpointer(
        model_of(0, width=4), str(tmp_path), metadata=class_metadata("dummy_other")
    )
    other.save("a")
    expect_refusal(
        tmp_path / "a.pth", model_of(0), "'dummy_train'", "only the first has stuff 'class2'"
    )
    expect_refusal(tmp_path / "a.pth", model_of(0), "SOLVER.FINETUNE True")


@pytest.mark.parametrize("foreign", ["text", None, {}, {"lr": 1}])
def test_metadata_of_other_code_is_left_alone(tmp_path, foreign):
    torch.save({"model": model_of(1).state_dict(), "metadata": foreign}, tmp_path / "a.pth")
    model = model_of(0)
    checkpointer_of(model).load(str(tmp_path / "a.pth"))
    assert torch.equal(model[0].weight, model_of(1)[0].weight)


def test_a_file_without_names_of_classes_is_told(tmp_path, caplog):
    torch.save({"model": model_of(0).state_dict()}, tmp_path / "bare.pth")
    checkpointer_of(model_of(1)).load(str(tmp_path / "bare.pth"))
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "bare.pth' has no names of classes: its classes are taken for those of" in warning


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite(tmp_path, value):
    model = model_of(0)
    model[1].weight.data[0, 2] = value
    torch.save({"model": model.state_dict()}, tmp_path / "a.pth")
    expect_refusal(tmp_path / "a.pth", model_of(0), "'1.weight'", "NaN or Inf")

    checkpointer_of(model_of(0), tmp_path).save("b")
    before = (tmp_path / "b.pth").read_bytes()
    with pytest.raises(ValueError, match=r"'1\.weight' of the model to be saved"):
        checkpointer_of(model, tmp_path).save("b")
    assert (tmp_path / "b.pth").read_bytes() == before


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"state_dict": x}, lambda x: {"model": {"state_dict": x}}]
)
@pytest.mark.parametrize("prefix", ["", "module.", "model._orig_mod."])
def test_layouts_of_other_code(tmp_path, wrap, prefix):
    weights = {prefix + key: value for key, value in model_of(1).state_dict().items()}
    torch.save(wrap(weights), tmp_path / "a.pth")
    model = model_of(0)
    checkpointer_of(model).load(str(tmp_path / "a.pth"))
    assert torch.equal(model[0].weight, model_of(1)[0].weight)


@pytest.mark.parametrize("content", [torch.ones(2), [torch.ones(2)], {"model": 1}, "text"])
def test_content_without_named_tensors(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    expect_refusal(tmp_path / "a.pth", model_of(0), "no named tensors")


def test_files_that_are_no_checkpoints(tmp_path):
    expect_refusal(tmp_path / "nowhere.pth", model_of(0))
    for name, content in (("empty", b""), ("text", b"hello"), ("zip", b"PK\x03\x04" + bytes(50))):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        expect_refusal(path, model_of(0), "convert-weights")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("bbox_head.query_embedding.weight", "official"),
        ("sem_seg_head.predictor.decoder_norm.weight", "mask2former"),
        ("mask_embedder.0.0.weight", "hf-maskformer"),
    ],
)
def test_a_checkpoint_of_other_code_must_be_converted(tmp_path, name, source):
    torch.save({"model": {name: torch.ones(1)}}, tmp_path / "a.pth")
    expect_refusal(tmp_path / "a.pth", model_of(0), f"psformer convert-weights --source {source}")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, "evil.pth")
    expect_refusal("evil.pth", model_of(0))
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    expect_refusal("plain.pth", model_of(0))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "address",
    ["http://localhost:1/x.pth", "nope://x", "file:///x", "http://[::1", "catalog://x", "a://"],
)
def test_an_address_that_leads_nowhere(address):
    expect_refusal(address, model_of(0))


@pytest.mark.skipif(BACKEND == "detectron2", reason="it matches them")
def test_names_that_are_to_be_matched(tmp_path):
    torch.save({"model": model_of(0).state_dict()}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"only Detectron2 reads .matching_heuristics=True"):
        checkpointer_of(model_of(0)).load(f"{tmp_path / 'a.pth'}?matching_heuristics=True")


def test_last_checkpoint_names_a_lost_file(tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    with pytest.raises(UserError, match=r"model_0000009\.pth.*last_checkpoint"):
        checkpointer_of(model_of(0), tmp_path).resume_or_load("", resume=True)


@pytest.mark.skipif(BACKEND != "detectron2", reason="d2lite matches no names of layers")
def test_model_zoo_backbones_are_part_of_a_model(tmp_path):
    with open(tmp_path / "zoo.pkl", "wb") as file:
        weights = {"weight": torch.ones(3, 2).numpy()}
        pickle.dump({"model": weights, "__author__": "someone", "matching_heuristics": True}, file)
    model = nn.ModuleDict({"backbone": nn.Linear(2, 3), "head": nn.LayerNorm(5)})
    model["head"].weight = None
    checkpointer_of(model).load(str(tmp_path / "zoo.pkl"))
    assert torch.equal(model["backbone"].weight, torch.ones(3, 2))


def test_classes_come_back_without_the_data_set():
    metadata = {**METADATA, "name": "dummy_gone"}
    restore_class_metadata(metadata)
    assert "dummy_gone" not in DatasetCatalog.list()
    assert class_metadata("dummy_gone") == metadata
    restore_class_metadata({"name": "dummy_gone", "stuff_classes": ["other"]})
    assert MetadataCatalog.get("dummy_gone").stuff_classes == METADATA["stuff_classes"]

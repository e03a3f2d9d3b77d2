"""What both backends promise of ``checkpoint``; imports from the façade alone."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from d2_psformer.d2.checkpoint import Checkpointer, DetectionCheckpointer, PeriodicCheckpointer


def model_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(params=[Checkpointer, DetectionCheckpointer])
def checkpointer_class(request):
    return request.param


def test_layout_and_resume(tmp_path, checkpointer_class):
    first = model_of(0)
    optimizer = torch.optim.SGD(first.parameters(), lr=0.5, momentum=0.9)
    saver = checkpointer_class(first, str(tmp_path), optimizer=optimizer)
    assert not saver.has_checkpoint()
    saver.save("model_0000004", iteration=4)
    saved = torch.load(tmp_path / "model_0000004.pth", weights_only=True)
    assert set(saved) == {"model", "optimizer", "iteration"}
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"

    second = model_of(1)
    other = torch.optim.SGD(second.parameters(), lr=0.1, momentum=0.9)
    loader = checkpointer_class(second, str(tmp_path), optimizer=other)
    assert loader.has_checkpoint()
    assert loader.get_checkpoint_file() == str(tmp_path / "model_0000004.pth")
    assert loader.resume_or_load("nowhere.pth", resume=True) == {"iteration": 4}
    assert same_weights(first, second)
    assert other.param_groups[0]["lr"] == 0.5


def test_load_without_resume_takes_the_weights_alone(tmp_path, checkpointer_class):
    first, second = model_of(0), model_of(1)
    optimizers = [torch.optim.SGD(m.parameters(), lr=lr) for m, lr in ((first, 0.5), (second, 0.1))]
    checkpointer_class(first, str(tmp_path), optimizer=optimizers[0]).save("a")
    loader = checkpointer_class(second, str(tmp_path), optimizer=optimizers[1])
    loader.resume_or_load(str(tmp_path / "a.pth"), resume=False)
    assert same_weights(first, second)
    assert optimizers[1].param_groups[0]["lr"] == 0.1


def test_an_empty_path_loads_nothing(tmp_path, checkpointer_class):
    model = model_of(0)
    assert checkpointer_class(model, str(tmp_path)).load("") == {}
    assert same_weights(model, model_of(0))


def test_nothing_is_written_when_told_so(tmp_path, checkpointer_class):
    checkpointer_class(model_of(0), str(tmp_path), save_to_disk=False).save("a")
    assert not list(tmp_path.iterdir())


def test_periodic_checkpointer_keeps_the_newest(tmp_path):
    saver = Checkpointer(model_of(0), str(tmp_path))
    periodic = PeriodicCheckpointer(saver, 2, max_iter=7, max_to_keep=1)
    for iteration in range(7):
        periodic.step(iteration)
    names = sorted(path.name for path in tmp_path.glob("*.pth"))
    assert names == ["model_0000005.pth", "model_final.pth"]


def test_weights_without_layout_and_wrapped_models(tmp_path):
    source, model = model_of(0), model_of(1)
    torch.save(nn.DataParallel(source).state_dict(), tmp_path / "plain.pth")
    DetectionCheckpointer(model).load(str(tmp_path / "plain.pth"))
    assert same_weights(source, model)


def test_what_does_not_fit_is_left_out(tmp_path):
    state = model_of(0).state_dict()
    state["0.weight"] = torch.zeros(5, 5)
    state["unknown"] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "other.pth")
    model = model_of(1)
    DetectionCheckpointer(model).load(str(tmp_path / "other.pth"))
    assert torch.equal(model[0].weight, model_of(1)[0].weight)
    assert torch.equal(model[1].weight, state["1.weight"])


def test_weights_matched_by_the_end_of_their_names(tmp_path):
    torch.save({"model": {"weight": torch.ones(1, 3)}}, tmp_path / "part.pth")
    model = nn.ModuleDict({"head": nn.Linear(3, 1, bias=False)})
    DetectionCheckpointer(model).load(f"{tmp_path}/part.pth?matching_heuristics=True")
    assert torch.equal(model["head"].weight, torch.ones(1, 3))


def test_the_longest_fitting_name_wins(tmp_path):
    given = {"conv.weight": torch.zeros(1, 1), "res.conv.weight": torch.ones(1, 1)}
    torch.save({"model": given}, tmp_path / "part.pth")
    inner = nn.ModuleDict(
        {"conv": nn.Linear(1, 1), "res": nn.ModuleDict({"conv": nn.Linear(1, 1)})}
    )
    model = nn.ModuleDict({"backbone": inner})
    DetectionCheckpointer(model).load(f"{tmp_path}/part.pth?matching_heuristics=True")
    assert inner["conv"].weight.item() == 0
    assert inner["res"]["conv"].weight.item() == 1


def test_model_zoo_pickle(tmp_path):
    weights = {"0.weight": np.ones((3, 2), dtype=np.float32)}
    with open(tmp_path / "zoo.pkl", "wb") as file:
        pickle.dump({"model": weights, "__author__": "someone", "matching_heuristics": True}, file)
    model = model_of(1)
    DetectionCheckpointer(model).load(str(tmp_path / "zoo.pkl"))
    assert torch.equal(model[0].weight, torch.ones(3, 2))


def test_pixel_statistics_may_be_missing(tmp_path, caplog):
    model = nn.Linear(1, 1)
    torch.save({"model": model.state_dict()}, tmp_path / "old.pth")
    model.register_buffer("pixel_mean", torch.full((3,), 7.0))
    with caplog.at_level("WARNING"):
        DetectionCheckpointer(model).load(str(tmp_path / "old.pth"))
    assert "pixel_mean" not in caplog.text
    assert torch.equal(model.pixel_mean, torch.full((3,), 7.0))

"""Checkpoints, the same on both backends."""

import pickle

import numpy as np
import torch
from torch import nn

from d2_psformer.d2.checkpoint import DetectionCheckpointer


def model_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_layout_and_resume(tmp_path):
    first = model_of(0)
    optimizer = torch.optim.SGD(first.parameters(), lr=0.5, momentum=0.9)
    saver = DetectionCheckpointer(first, str(tmp_path), optimizer=optimizer)
    assert not saver.has_checkpoint()
    saver.save("model_0000004", iteration=4)
    saved = torch.load(tmp_path / "model_0000004.pth", weights_only=True)
    assert set(saved) == {"model", "optimizer", "iteration"}
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"

    second = model_of(1)
    other = torch.optim.SGD(second.parameters(), lr=0.1, momentum=0.9)
    loader = DetectionCheckpointer(second, str(tmp_path), optimizer=other)
    assert loader.has_checkpoint()
    assert loader.get_checkpoint_file() == str(tmp_path / "model_0000004.pth")
    assert loader.resume_or_load("nowhere.pth", resume=True) == {"iteration": 4}
    assert same_weights(first, second)
    assert other.param_groups[0]["lr"] == 0.5


def test_load_without_resume_takes_the_weights_alone(tmp_path):
    first, second = model_of(0), model_of(1)
    optimizers = [torch.optim.SGD(m.parameters(), lr=lr) for m, lr in ((first, 0.5), (second, 0.1))]
    DetectionCheckpointer(first, str(tmp_path), optimizer=optimizers[0]).save("a")
    loader = DetectionCheckpointer(second, str(tmp_path), optimizer=optimizers[1])
    loader.resume_or_load(str(tmp_path / "a.pth"), resume=False)
    assert same_weights(first, second)
    assert optimizers[1].param_groups[0]["lr"] == 0.1


def test_an_empty_path_loads_nothing(tmp_path):
    model = model_of(0)
    assert DetectionCheckpointer(model, str(tmp_path)).load("") == {}
    assert same_weights(model, model_of(0))


def test_saving_can_be_switched_off(tmp_path):
    DetectionCheckpointer(model_of(0), str(tmp_path), save_to_disk=False).save("a")
    assert not list(tmp_path.iterdir())


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


def test_model_zoo_pickle(tmp_path):
    weights = {"0.weight": np.ones((3, 2), dtype=np.float32)}
    with open(tmp_path / "zoo.pkl", "wb") as file:
        pickle.dump({"model": weights, "__author__": "someone"}, file)
    model = model_of(1)
    DetectionCheckpointer(model).load(str(tmp_path / "zoo.pkl"))
    assert torch.equal(model[0].weight, torch.ones(3, 2))

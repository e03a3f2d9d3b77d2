"""Reading weight files of any origin."""

import pytest
import torch
from safetensors.torch import save_file

from d2_psformer.checkpoint.files import read_weights

WEIGHTS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


class Payload:
    """An object that plain loading must refuse."""


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"model": WEIGHTS, "iteration": 3},
        {"state_dict": WEIGHTS, "meta": {"epoch": 24}, "optimizer": {}},
    ],
    ids=["bare", "detectron2", "mmcv"],
)
def test_wrappers_are_taken_off(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    loaded = read_weights(str(path))
    assert set(loaded) >= set(WEIGHTS)
    assert all(torch.equal(loaded[k], v) for k, v in WEIGHTS.items())


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(WEIGHTS, path)
    assert set(read_weights(str(path))) == set(WEIGHTS)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file '.*nothing\.pth'"):
        read_weights(str(tmp_path / "nothing.pth"))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello" * 100, b"<html>404: not found</html>" * 20])
def test_a_damaged_file_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"'.*{name}' cannot be read"):
        read_weights(str(path))


def test_a_cut_file_is_named(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cannot be read"):
        read_weights(str(path))


def test_python_objects_are_refused_unless_trusted(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": WEIGHTS, "meta": Payload()}, path)
    with pytest.raises(ValueError, match=r"Python objects.*--trust"):
        read_weights(str(path))
    assert set(read_weights(str(path), trust=True)) == set(WEIGHTS)


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {"epoch": 3}, {"model": 3}])
def test_a_file_without_named_tensors_is_told(tmp_path, content):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match="holds no named tensors"):
        read_weights(str(path))

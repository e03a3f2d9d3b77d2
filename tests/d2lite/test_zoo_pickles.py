"""Pickles of Detectron2's model zoo hold arrays; whatever else a pickle names is not run."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from d2_psformer.d2lite.checkpoint import DetectionCheckpointer


def zoo_file(folder, weight, protocol=2) -> str:
    content = {"model": {"weight": weight, "bias": np.zeros(2, np.float32)}, "__author__": "me"}
    path = folder / "zoo.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return str(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_are_loaded(tmp_path, protocol):
    model = nn.Linear(3, 2)
    DetectionCheckpointer(model).load(zoo_file(tmp_path, np.ones((2, 3), np.float32), protocol))
    assert torch.equal(model.weight, torch.ones(2, 3)) and not model.bias.any()


class Harmful:
    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_code_is_refused_and_not_run(tmp_path):
    path = zoo_file(tmp_path, Harmful(tmp_path / "made"))
    with pytest.raises(
        ValueError, match=r"zoo\.pkl' cannot be read safely: it holds a '\w+\.mkdir'"
    ):
        DetectionCheckpointer(nn.Linear(3, 2)).load(path)
    assert not (tmp_path / "made").exists()

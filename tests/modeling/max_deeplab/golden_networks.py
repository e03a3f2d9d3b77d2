"""The reference's weights, inputs and outputs of MaX-DeepLab's layers and networks."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from names import from_official
from torch import Tensor, nn


class Golden:
    """A file of the reference, or one case of it.

    Attributes:
        arrays: by name.
        config: what deeplab2's network or layer was built from.
        shapes: of deeplab2's variables, by name.
    """

    def __init__(self, folder: Path, file: str, case: str = ""):
        spec = importlib.util.spec_from_file_location("max_deeplab_weights", folder / "weights.py")
        self.rules = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.rules)
        start = f"{case}/" if case else ""
        with self.open(folder, file) as archive:
            names = [key for key in archive.files if key.startswith(start)]
            self.arrays = {key.removeprefix(start): archive[key] for key in names}
        self.config = json.loads(str(self.arrays["config"]))
        if "variables" in self.arrays:
            self.shapes = json.loads(str(self.arrays["variables"]))
        elif "variables" in self.config:
            self.shapes = {x["name"]: x["shape"] for x in self.config["variables"]}
        else:
            self.shapes = variable_shapes(folder, "max_deeplab_s_variables")

    @staticmethod
    def open(folder: Path, file: str):
        return np.load(folder / f"{file}.npz")

    def tensor(self, key: str) -> Tensor:
        """What has four dimensions is taken as a map and comes as (B, C, H, W)."""
        tensor = torch.from_numpy(self.arrays[key])
        return tensor.movedim(-1, 1) if tensor.ndim == 4 else tensor

    @torch.no_grad()
    def fill(self, module: nn.Module, names: Mapping[str, str]) -> nn.Module:
        """Give a module the weights that follow from deeplab2's names, in place.

        Args:
            names: ours -> deeplab2's.
        """
        assert set(names.values()) == set(self.shapes)
        salt, state = self.config.get("salt", self.rules.SALT), module.state_dict()
        for ours, name in names.items():
            value = self.rules.tensor_for(name, self.shapes[name], salt)
            state[ours].copy_(from_official(value, name, state[ours]))
        return module.eval()


def variable_shapes(folder: Path, file: str) -> dict[str, list[int]]:
    variables = json.loads((folder / f"{file}.json").read_text())["variables"]
    return {x["name"]: x["shape"] for x in variables}


def assert_near(ours: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """The largest difference is at most ``tolerance`` of the largest value."""
    assert ours.shape == expected.shape
    difference = (ours.detach() - expected).abs().max()
    assert difference <= tolerance * expected.abs().max(), float(difference / expected.abs().max())

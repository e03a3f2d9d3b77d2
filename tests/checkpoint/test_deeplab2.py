"""Names and layouts of deeplab2's MaX-DeepLab.

The folder deeplab2 has the indices of checkpoints that deeplab2 wrote, without their numbers.
"""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_psformer.checkpoint import convert, read_checkpoint, tensorflow
from d2_psformer.d2.modeling import META_ARCH_REGISTRY
from d2_psformer.engine import load_config
from d2_psformer.engine.optimizer import parameter_groups
from d2_psformer.utils.errors import UserError

FOLDER = Path(__file__).parent / "deeplab2"
CONFIGS = {"S": "coco/max_deeplab_S_641", "L": "coco/max_deeplab_L_1025"}


def shape_alone(entry, *_) -> torch.Tensor:
    return torch.empty(tensorflow._shape(entry), device="meta")


@pytest.fixture(scope="module", params=CONFIGS)
def variant(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def variables(variant, tmp_path_factory) -> dict[str, torch.Tensor]:
    """All variables of a real checkpoint, as shapes alone."""
    path = tmp_path_factory.mktemp(variant) / "ckpt.index"
    packed = FOLDER / f"max_deeplab_{variant.lower()}.index.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "_tensor", shape_alone)
        return read_checkpoint(str(path))["model"]


@pytest.fixture(scope="module")
def model(variant) -> torch.nn.Module:
    cfg = load_config(CONFIGS[variant])
    with torch.device("meta"):
        return META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)


def test_every_variable_has_its_place_and_every_place_a_variable(variables, model):
    found = {name: value.shape for name, value in convert(variables, "deeplab2").items()}
    assert found == {name: value.shape for name, value in model.state_dict().items()}

"""Reading a checkpoint that TensorFlow 2.15 wrote, and what is none.

deeplab2/small.index has variables that count up from -1 in eighths, an optimizer with the moments
of two of them, and a counter.
"""

import shutil
from pathlib import Path

import pytest
import torch

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.utils.errors import UserError

SMALL = Path(__file__).parent / "deeplab2" / "small.index"
DATA = "small.data-00000-of-00001"
SHAPES = {
    "encoder/_stem/_conv/kernel": (3, 3, 2, 4),
    "encoder/_stem/_batch_norm/gamma": (4,),
    "encoder/memory_feature": (1, 5, 3),
}


@pytest.fixture
def copy(tmp_path) -> Path:
    for name in (SMALL.name, DATA):
        shutil.copy(SMALL.with_name(name), tmp_path)
    return tmp_path / SMALL.name


def test_variables():
    variables = read_checkpoint(str(SMALL))["model"]
    for name, shape in SHAPES.items():
        expected = torch.arange(torch.Size(shape).numel()).view(shape) / 8 - 1
        assert torch.equal(variables[name], expected)
    settings = {name for name in variables if name.startswith("optimizer/")}
    assert variables.keys() - settings == SHAPES.keys(), "no moments, no counters, no graph"
    assert variables["optimizer/beta_1"] == torch.tensor(0.9)


def test_numbers_are_missing(copy):
    copy.with_name(DATA).unlink()
    with pytest.raises(UserError, match=rf"{DATA}' is missing.*small\.index'"):
        read_checkpoint(str(copy))


@pytest.mark.parametrize("kept", [0, 100, 300])
def test_numbers_are_cut_off(copy, kept):
    data = copy.with_name(DATA)
    data.write_bytes(data.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"small\.index' cannot be read.*damaged"):
        read_checkpoint(str(copy))


def test_any_damage_to_the_index_is_one_sentence(copy):
    whole = SMALL.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 37)]
    damaged += [
        whole[:i] + bytes([whole[i] ^ bits]) + whole[i + 1 :]
        for bits in (2, 255)  # the former makes integers bytes and the other way round
        for i in range(0, len(whole), 3)
    ]
    for content in damaged:
        copy.write_bytes(content)
        try:
            read_checkpoint(str(copy))
        except UserError as error:
            assert "\n" not in str(error)

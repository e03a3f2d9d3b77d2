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


def varint(number: int) -> bytes:
    low = bytes([number & 127 | (128 if number > 127 else 0)])
    return low + varint(number >> 7) if number > 127 else low


def block(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    """A block of a table: of each key how much it shares with the one before, and the rest."""
    rows = (
        varint(shared) + varint(len(own)) + varint(len(value)) + own + value
        for shared, own, value in entries
    )
    return b"".join(rows) + bytes(4)


def write_table(path: Path, entries: list[tuple[int, bytes, bytes]]) -> None:
    header = (0, b"", b"\x08\x01")  # one file of numbers
    keys = block([header, *entries])
    index = block([(0, b"", varint(0) + varint(len(keys)))])
    content = keys + bytes(5) + index + bytes(5)
    footer = bytes(2) + varint(len(keys) + 5) + varint(len(index))
    path.write_bytes(content + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db"))


def variable(offset: int) -> bytes:
    """The entry of a float32 variable of two numbers."""
    return b"\x08\x01\x12\x04\x12\x02\x08\x02\x20" + varint(offset) + b"\x28\x08"


@pytest.mark.parametrize(("second", "is_read"), [(8, True), (0, False), (4, False)])
def test_every_variable_has_numbers_of_its_own(tmp_path, second, is_read):
    """A small file could fill the memory otherwise."""
    path = tmp_path / "a.index"
    path.with_name("a.data-00000-of-00001").write_bytes(bytes(16))
    end = b"/.ATTRIBUTES/VARIABLE_VALUE"
    write_table(path, [(0, b"a" + end, variable(0)), (0, b"b" + end, variable(second))])
    if is_read:
        assert read_checkpoint(str(path))["model"].keys() == {"a", "b"}
    else:
        with pytest.raises(UserError, match=r"a\.index' cannot be read"):
            read_checkpoint(str(path))


def test_keys_do_not_grow_without_end(tmp_path):
    """A key takes a byte in the file for what it shares with the one before."""
    path = tmp_path / "a.index"
    long = b"a" * 10_000
    write_table(path, [(0, long, variable(0)), *((10_000, b"b", variable(0)) for _ in range(9))])
    with pytest.raises(UserError, match=r"a\.index' cannot be read"):
        read_checkpoint(str(path))

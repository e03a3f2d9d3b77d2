"""Damaged, odd and harmful checkpoints: what they hold, or one sentence that names the file.

A crash of the process ends the tests. No file runs code: harmful ones would make a folder.
"""

import collections
import copy
import io
import json
import os
import pickletools
import random
import struct
import warnings

import pytest
import torch
from attack_cases import cases
from attack_files import changed_pickle, damaged, opcodes, with_parts
from attack_values import VALUES, changed, one_sentence
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.utils.errors import UserError

WEIGHT = torch.arange(6.0).view(2, 3)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what is new in torch
    TENSORS = (
        *(WEIGHT, WEIGHT.T, WEIGHT[:, :0], torch.tensor(1.5), WEIGHT.bfloat16(), WEIGHT.half()),
        *(WEIGHT.double(), WEIGHT.long(), WEIGHT.bool(), WEIGHT.to(torch.uint16), WEIGHT.byte()),
        *(WEIGHT.to(torch.complex64).conj(), WEIGHT.to(torch.float8_e4m3fn), WEIGHT * torch.nan),
        *(
            WEIGHT.to_sparse(),
            WEIGHT.to_sparse_csr(),
            WEIGHT.to("meta"),
            torch.nn.Parameter(WEIGHT),
        ),
        *(torch.zeros(2, 3).expand(4, 2, 3), torch._neg_view(WEIGHT), torch.zeros(1, 300, 300)),
    )
OTHERS = (WEIGHT.shape, torch.float32, {1, 2}, b"ab", 1j, collections.Counter("aab"), (1, (2,)))
KEYS = (
    "",
    "a\nb",
    "x" * 3000,
    "é",
    7,
    None,
    1.5,
    ("a",),
    "model",
    "state_dict",
    "config",
    "model.",
)


def torch_file(content, is_old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not is_old)
    return file.getvalue()


def anything(chance: random.Random, depth: int):
    """Any nesting of what a checkpoint can hold."""
    kind = chance.randrange(8)
    inner = [anything(chance, depth - 1) for _ in range(chance.randrange(4))] if depth else []
    if kind < 3:
        keys = (*KEYS, *(f"layer{n}.weight" for n in range(20)))
        whole = {chance.choice(keys): value for value in inner}
        if chance.random() < 0.1:
            whole["model"] = whole
        return collections.OrderedDict(whole) if kind == 0 else whole
    if kind == 3:
        return inner if chance.random() < 0.5 else tuple(inner)
    if kind == 4:
        return copy.deepcopy(chance.choice(VALUES))
    return chance.choice(OTHERS if kind == 5 else TENSORS)


def read(path, *named) -> None:
    """What is read can be used as weights."""
    with one_sentence(path, *named):
        for name, value in read_checkpoint(str(path))["model"].items():
            assert isinstance(name, str)
            assert not value.requires_grad
            torch.zeros(value.shape).copy_(value).sum()


@given(st.integers(0, 2**40), st.booleans())
@cases(60)
def test_any_content(tmp_path, seed, is_old):
    path, content = tmp_path / "any.pth", anything(random.Random(seed), 4)
    try:
        path.write_bytes(torch_file(content, is_old))
    except (RuntimeError, NotImplementedError, TypeError, UnicodeEncodeError):  # no such file
        return
    read(path)


SAVED = {"model": {"a": WEIGHT, "b": torch.nn.Parameter(WEIGHT.T)}, "iteration": 3, "x": [1.5, "t"]}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what is old in torch
    ODD = {"a": WEIGHT, "b": WEIGHT.to_sparse(), "c": {1}, "d": torch.FloatStorage([1, 2, 3])}
    ODD["q"] = torch._empty_per_channel_affine_quantized(
        (2, 3), scales=torch.ones(2), zero_points=torch.zeros(2), axis=0, dtype=torch.qint8
    )
FILES = {
    "new.pth": torch_file(SAVED),
    "old.pth": torch_file(SAVED, is_old=True),
    "odd.pth": torch_file(ODD),
    "a.safetensors": save({"a": WEIGHT, "b": WEIGHT.half()}, {"config": "{}", "metadata": "{}"}),
}


@given(st.sampled_from(sorted(FILES)), st.integers(0, 2**40))
@cases(60)
def test_damaged_files(tmp_path, name, seed):
    path = tmp_path / name
    path.write_bytes(damaged(FILES[name], seed))
    read(path)


@given(st.sampled_from(["new.pth", "odd.pth"]), st.integers(0, 2**40))
@cases(60)
def test_changed_pickles_in_archives(tmp_path, name, seed):
    chance = random.Random(seed)

    def change(part: str, content: bytes) -> bytes:
        if part.endswith("data.pkl"):
            return changed_pickle(opcodes(content), seed)
        return content[:-1] if "/data/" in part and chance.random() < 0.05 else content

    (tmp_path / name).write_bytes(with_parts(FILES[name], change))
    read(tmp_path / name)


def parts_of_old(content: bytes) -> list[bytes]:
    """The five pickles of an older file, and what is behind them."""
    file = io.BytesIO(content)
    found = []
    for _ in range(5):
        start = file.tell()
        collections.deque(pickletools.genops(file), 0)
        found.append(content[start : file.tell()])
    return [*found, content[file.tell() :]]


@given(st.integers(0, 2**40))
@cases(40)
def test_changed_pickles_in_older_files(tmp_path, seed):
    chance, parts = random.Random(seed), parts_of_old(FILES["old.pth"])
    place = chance.choice((2, 3, 3, 3, 3, 4, 5))
    if place == 5:
        parts[5] = struct.pack("<q", chance.choice((0, 1, -1, 2**62))) + parts[5][8:]
    else:
        parts[place] = changed_pickle(opcodes(parts[place]), seed)
    (tmp_path / "old.pth").write_bytes(b"".join(parts))
    read(tmp_path / "old.pth")


HEADERS = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "__metadata__": {"k": "v"},
}


@given(st.integers(0, 2**40))
@cases(40)
def test_changed_headers_of_safetensors(tmp_path, seed):
    header = json.dumps(changed(HEADERS, seed)[0]).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    read(path)


LISTED = {"a.safetensors": FILES["a.safetensors"], "b.bin": torch_file({"c": WEIGHT})}
INDEX = {
    "metadata": {"total_size": 60},
    "weight_map": {"a": "a.safetensors", "b": "a.safetensors", "c": "b.bin"},
}


@given(st.integers(0, 2**40))
@cases(60)
def test_changed_indices_of_several_files(tmp_path, seed):
    for name, content in LISTED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "odd.pth").write_bytes(torch_file(anything(random.Random(seed), 1)))
    index, path = changed(INDEX, seed)[0], tmp_path / "a.safetensors.index.json"
    names = ("odd.pth", "a.safetensors.index.json", "../a.safetensors", ".", "a\0b")
    if seed % 2 and isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        index["weight_map"]["d"] = names[seed % len(names)]
    path.write_text(json.dumps(index))
    read(path, tmp_path / "odd.pth")


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *args):
        self.parts = (function, args)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec, torch.load, torch.hub.load])
def test_nothing_is_called(tmp_path, function, is_old):
    made = str(tmp_path / "made")
    text = made if function is os.mkdir else f"__import__('os').mkdir({made!r})"
    text = f"mkdir {made}" if function is os.system else text
    path = tmp_path / "harmful.pth"
    path.write_bytes(torch_file({"a": WEIGHT, "b": Call(function, text)}, is_old))
    with pytest.raises(UserError, match=r"harmful\.pth' cannot be read: it holds"):
        read_checkpoint(str(path))
    assert not os.path.exists(made)

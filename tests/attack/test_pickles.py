"""Pickles of model zoos with changed bytes and opcodes: arrays, or one sentence."""

import collections
import pickle
import random

import numpy as np
from attack_cases import cases
from attack_files import NAMES, PLAIN, WHOLE, changed_pickle, damaged, named, opcodes, whole
from attack_values import one_sentence
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.checkpoint import read_checkpoint
from d2_psformer.utils.zoo_pickles import read_zoo_pickle

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "c": np.arange(24, dtype=">f4").reshape(2, 3, 4).transpose(1, 0, 2),
    "d": np.float32(1.5),
}
PICKLES = [
    pickle.dumps(content, protocol)
    for content in (
        {"model": ARRAYS, "__author__": "me", "matching_heuristics": False},
        {"blobs": collections.OrderedDict(conv_w=ARRAYS["a"], b_momentum=ARRAYS["b"])},
    )
    for protocol in (1, 2, 4, 5)
]
# Without arguments: what a stream of opcodes is made of beside numbers, names and texts.
BARE = [
    bytes([code]) for code in b"(.01239:;<=>?@abdehlnopqrstu}]N)\x81\x85\x86\x87\x88\x89\x93\x94R"
]


def read(path) -> None:
    with one_sentence(path):
        for array in read_zoo_pickle(str(path))["model"].values():
            assert isinstance(array, np.ndarray)
            assert array.dtype.kind in "fiub"
            assert len(array.tobytes()) == array.nbytes  # every element can be read
        read_checkpoint(str(path))


@given(st.sampled_from(range(len(PICKLES))), st.integers(0, 2**40))
@cases(60)
def test_changed_pickles(tmp_path, number, seed):
    (tmp_path / "a.pkl").write_bytes(changed_pickle(opcodes(PICKLES[number]), seed))
    read(tmp_path / "a.pkl")


@given(st.sampled_from(range(len(PICKLES))), st.integers(0, 2**40))
@cases(40)
def test_changed_bytes(tmp_path, number, seed):
    (tmp_path / "a.pkl").write_bytes(damaged(PICKLES[number], seed))
    read(tmp_path / "a.pkl")


@given(st.integers(0, 2**40))
@cases(60)
def test_random_opcodes(tmp_path, seed):
    chance = random.Random(seed)
    pieces = (
        lambda: chance.choice(BARE),
        lambda: chance.choice(PLAIN),
        lambda: whole(chance.choice(WHOLE)),
        lambda: named(chance.choice(NAMES)),
        lambda: chance.choice(opcodes(chance.choice(PICKLES))),
        lambda: b"q" + bytes([chance.randrange(4)]),
        lambda: b"h" + bytes([chance.randrange(4)]),
    )
    stream = b"".join(chance.choice(pieces)() for _ in range(chance.randrange(40)))
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + stream + b".")
    read(tmp_path / "a.pkl")

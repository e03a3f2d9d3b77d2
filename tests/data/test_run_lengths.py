"""Run-length codes against pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as mask_util

from d2_psformer.data.run_lengths import _lengths_of_text, check_run_lengths

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_codes_of_pycocotools_are_sound(mask):
    code = mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    edges = np.flatnonzero(np.diff(mask.ravel("F"))) + 1
    lengths = np.diff([0, *edges, mask.size]).tolist()
    lengths = [0, *lengths] if mask[0, 0] else lengths
    assert _lengths_of_text(code).tolist() == lengths
    for counts in (code, code.decode(), lengths):
        assert check_run_lengths(counts, mask.size) == ""


def test_long_runs():
    mask = np.zeros((3000, 4000), np.uint8, order="F")
    mask[5, 3000] = 1
    assert check_run_lengths(mask_util.encode(mask)["counts"], mask.size) == ""


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ("0P", "no run lengths"),  # ends inside a number
        ("é", "no run lengths"),
        ("0 0", "no run lengths"),
        ("PPPPPPPPP0", "no run lengths"),
        ([1, None], "no run lengths"),
        ([True, 5], "no run lengths"),
        ([2**40], "no run lengths"),
        (None, "no run lengths"),
        ([3, -3, 6], "negative"),
        ([3], "cover 3 pixels, its size says 6"),
        ("", "cover 0 pixels"),
        ([], "cover 0 pixels"),
    ],
)
def test_what_is_refused(counts, sentence):
    assert sentence in check_run_lengths(counts, 6)

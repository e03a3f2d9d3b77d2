"""Freed memory, in a process of its own: the setting is the process's."""

import subprocess
import sys

import pytest

from d2_psformer.engine import keep_freed_memory

SCRIPT = """
import torch
from d2_psformer.engine import keep_freed_memory

def megabytes():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("VmRSS")) / 1024

def left_by_a_tensor(numbers=25_000_000):
    before = megabytes()
    torch.ones(numbers)  # 100 MB, freed at once
    return round(megabytes() - before)

usual = left_by_a_tensor()
keep_freed_memory()
kept = left_by_a_tensor()
again = left_by_a_tensor(20_000_000)  # something small may lie in that place by now
filled = megabytes()
keep_freed_memory(False)
print(usual, kept, again, round(filled - megabytes()))
"""


@pytest.mark.skipif(not keep_freed_memory(False), reason="the C library is not glibc")
def test_freed_memory_is_kept_until_it_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    usual, kept, again, given_back = map(int, done.stdout.split())
    assert usual < 20
    assert kept > 80
    assert again < 20  # the same memory once more
    assert given_back > 80

"""Seeds that do not depend on what was computed before.

Each random step draws from a generator that is seeded by the run's seed and by its own place (which
sample, which iteration). So neither a resume nor the number of data workers changes anything.
"""

import random
import zlib

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, *place: int) -> int:
    """A 32-bit seed for one ``purpose`` and ``place``; all arguments are ≥ 0."""
    key = [seed, zlib.crc32(purpose.encode()), *place]
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def seed_generators(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

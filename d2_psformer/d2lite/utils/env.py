"""Random seeds."""

import logging
import os
import random

import numpy as np
import torch


def seed_all_rng(seed: int | None = None) -> None:
    """Seed Python, NumPy and torch on all devices; without a seed, with a logged random one."""
    if seed is None:
        seed = int.from_bytes(os.urandom(4), "little")
        logging.getLogger(__name__).info("Using the generated random seed %d", seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    # Seen by child processes only.
    os.environ["PYTHONHASHSEED"] = str(seed)

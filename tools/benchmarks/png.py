"""Decoders of panoptic PNGs: what one takes of a core, and the damaged files it takes for whole."""

import argparse
import importlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import read_panoptic_png

from .dataset import generated_dataset

Decoder = Callable[[str], np.ndarray]
_HEADER_BYTES = 33  # signature and IHDR, which every decoder checks


def measure(options: argparse.Namespace) -> list[dict]:
    """One row for each decoder that is installed; they take turns, file by file."""
    cv2.setNumThreads(1)
    decoders = _decoders()
    with generated_dataset(options.images, options.size) as name:
        files = [record["pan_seg_file_name"] for record in DatasetCatalog.get(name)]
        files = [*map(str, options.files or files)]
        milliseconds: dict[str, list[float]] = {kind: [] for kind in decoders}
        for _ in range(options.rounds):
            for kind, seconds in _seconds(decoders, files).items():
                milliseconds[kind].append(1e3 * seconds / len(files))
        rows = []
        for kind, decode in decoders.items():
            median = statistics.median(milliseconds[kind])
            wrong = _wrong(decode, files[0])
            rows.append({"decoder": kind, "CPU ms a file": median, "% of damage unseen": wrong})
        return rows


def _decoders() -> dict[str, Decoder]:
    """By name, those of the packages that are here; ours gives ids, the others give colours."""
    found: dict[str, Decoder] = {
        "ours, to ids": read_panoptic_png,
        "Pillow": lambda file: np.asarray(Image.open(file)),
        "OpenCV": partial(cv2.imread, flags=cv2.IMREAD_UNCHANGED),
    }
    others = {
        "kornia_rs.io": lambda module, file: module.read_image_png_u8(file, "rgb"),
        "pyspng": lambda module, file: module.load(Path(file).read_bytes()),
        "imagecodecs": lambda module, file: module.png_decode(Path(file).read_bytes()),
    }
    for name, decode in others.items():
        try:
            found[name] = partial(decode, importlib.import_module(name))
        except ImportError:
            continue
    return found


def _seconds(decoders: dict[str, Decoder], files: list[str]) -> dict[str, float]:
    """Processor time, which other programs disturb less than the clock."""
    seconds = dict.fromkeys(decoders, 0.0)
    for file in files:
        for kind, decode in decoders.items():
            start = time.process_time()
            decode(file)
            seconds[kind] += time.process_time() - start
    return seconds


def _wrong(decode: Decoder, file: str, tries: int = 100) -> float:
    """Of copies of a file with one bit flipped, the percentage that gives another map unnoticed."""
    whole, content, bits = decode(file), Path(file).read_bytes(), random.Random(0)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/damaged.png"
        for _ in range(tries):
            damaged = bytearray(content)
            damaged[bits.randrange(_HEADER_BYTES, len(content))] ^= 1 << bits.randrange(8)
            Path(copy).write_bytes(damaged)
            try:
                wrong += not np.array_equal(decode(copy), whole)
            except Exception:  # each package has errors of its own
                continue
    return 100 * wrong / tries

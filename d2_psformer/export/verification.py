"""How far the outputs of an exported file are from those of the model."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from ..deployment import Model
from ..utils.errors import UserError
from .network import ExportedNetwork

Outputs = dict[str, np.ndarray]
Run = Callable[[np.ndarray, np.ndarray], Outputs]  # images (B, 3, H, W) and sizes (B, 2)


def run_network(network: ExportedNetwork) -> Run:
    """The model itself, or a program of torch.export as a module, on arrays."""

    def run(images: np.ndarray, sizes: np.ndarray) -> Outputs:
        with torch.no_grad():
            outputs = network(torch.from_numpy(images), torch.from_numpy(sizes))
        return {name: value.numpy() for name, value in outputs.items()}

    return run


def run_program(path: Path) -> Run:
    """A file of torch.export."""
    return run_network(torch.export.load(path).module())


def run_onnx(path: Path) -> Run:
    """An ONNX file in onnxruntime."""
    return Model(path).run


def largest_differences(
    expected: Run, found: Run, inputs: Iterable[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """By output, the largest difference as a share of the largest value, over all inputs.

    Pairs of query and class whose scores are the same up to rounding can change their order: rows
    are compared with the nearest of the same class.
    """
    largest: dict[str, float] = {}
    for images, sizes in inputs:
        theirs, ours = found(images, sizes), expected(images, sizes)
        if "classes" in ours:
            theirs = _reordered(theirs, ours)
        for name in ours.keys() - {"classes"}:
            difference = np.abs(theirs[name] - ours[name]).max()
            if difference != 0:  # then the largest value may be 0, too
                difference /= np.abs(ours[name]).max()
            # Unlike max() this keeps NaN.
            largest[name] = float(np.maximum(largest.get(name, 0.0), difference))
    return largest


def check_differences(differences: dict[str, float], bound: float) -> None:
    """
    Raises:
        UserError: one is above the bound, or is no number.
    """
    for name, difference in differences.items():
        if np.isnan(difference):
            raise UserError(
                f"The {name} of the model, or of the exported file, have NaN or infinity: the "
                "weights have diverged, or a number is too large. Nothing was written."
            )
        if not difference <= bound:
            raise UserError(
                f"The exported file gives other {name} than the model: they differ by "
                f"{difference:.1e} of the largest, the bound is {bound:.0e}. Nothing was written."
            )


def _reordered(found: Outputs, expected: Outputs) -> Outputs:
    """The rows of every image in the order of ``expected``."""
    order = np.stack([_nearest_rows(found, expected, i) for i in range(len(found["scores"]))])
    image = np.arange(len(order))[:, None]
    return {name: value[image, order] for name, value in found.items()}


def _nearest_rows(found: Outputs, expected: Outputs, image: int) -> np.ndarray:
    """For each expected row the row of its class whose mask, and then score, is the nearest."""
    rows = []
    for row, label in enumerate(expected["classes"][image]):
        same = np.flatnonzero(found["classes"][image] == label)
        if not len(same):
            rows.append(row)  # the scores or masks will differ
            continue
        masks = np.abs(found["masks"][image, same] - expected["masks"][image, row]).max((1, 2))
        scores = np.abs(found["scores"][image, same] - expected["scores"][image, row])
        rows.append(same[(masks + scores).argmin()])
    return np.array(rows)

"""The figures of a training, from the ``metrics.json`` that it writes."""

import json
import os
import re
from collections.abc import Mapping

from ..utils.errors import UserError

# Name -> iterations and values.
Curves = Mapping[str, tuple[list[int], list[float]]]

# Title of each panel, pattern of its names, scale of its vertical axis. Losses of intermediate
# layers end in a number and are left out: the total contains them.
_PANELS = (
    ("Total loss", r"total_loss", "log"),
    ("Losses of the last layer", r"(\w+_)?loss_\w*[a-z]", "log"),
    ("Matched things: class score, mask dice", r"class_score|mask_dice", "linear"),
    ("Share of the pixels in the mask of their segment", r"mask_id_accuracy", "linear"),
    ("Panoptic quality, %", r"(.+/)?panoptic_seg/PQ(_th|_st)?", "linear"),
    ("Semantic and instance results, %", r"(.+/)?(sem_seg/mIoU|bbox/AP|segm/AP)", "linear"),
    ("Learning rate", r"lr", "linear"),
)


def read_curves(metrics_json: str | os.PathLike) -> Curves:
    """Read JSON lines; where a resumed training wrote an iteration again, the later line counts.

    Raises:
        UserError: the file does not exist, or has no line with an iteration.
    """
    by_iteration: dict[int, dict[str, float]] = {}
    if not os.path.isfile(metrics_json):
        raise UserError(
            f"'{metrics_json}' does not exist: name the OUTPUT_DIR of a training that has started."
        )
    with open(metrics_json, encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
                by_iteration.setdefault(entry.pop("iteration"), {}).update(entry)
            except (ValueError, KeyError, AttributeError):
                continue  # cut short when the training was killed
    if not by_iteration:
        raise UserError(f"'{metrics_json}' has no line of figures yet: continue the training.")
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for iteration, entry in sorted(by_iteration.items()):
        for name, value in entry.items():
            if value is None:  # NaN
                continue
            iterations, values = curves.setdefault(name, ([], []))
            iterations.append(iteration)
            values.append(float(value))
    return curves


def panels(curves: Curves) -> list[tuple[str, str, Curves]]:
    """Group curves by kind: title, scale ("log" or "linear") and curves of each that occurs."""
    groups = (
        (title, scale, {name: curves[name] for name in curves if re.fullmatch(pattern, name)})
        for title, pattern, scale in _PANELS
    )
    return [group for group in groups if group[2]]

"""Training curves from the ``metrics.json`` that a training writes."""

import json
import os
import re
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..utils.errors import UserError
from ..utils.files import atomic_write

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
            iterations, values = curves.setdefault(name, ([], []))
            iterations.append(iteration)
            values.append(float(value))
    return curves


def draw_curves(curves: Curves, path: str | os.PathLike) -> None:
    """Write a PNG, atomically, with one panel for each kind of figure."""
    panels = []
    for title, pattern, scale in _PANELS:
        names = [name for name in curves if re.fullmatch(pattern, name)]
        panels += [(title, names, scale)] if names else []
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(5.5 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display
    for i, (title, names, scale) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, i)
        for name in names:
            iterations, values = curves[name]
            # Few points, as of evaluations, would be invisible without a mark.
            mark = "o" if len(iterations) < 30 else None
            axes.plot(iterations, values, label=name, marker=mark, markersize=3, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("iteration")
        axes.set_yscale(scale)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)

"""The page of a report: one HTML file that needs no other and no network."""

import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from ..utils.errors import UserError
from ..utils.files import atomic_write
from ..utils.wording import counted
from ..visualization.curves import Curves, read_curves
from . import charts, tables
from .errors import MEANINGS
from .evaluation import Evaluation
from .gallery import Shown

_TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, runs: Sequence[Evaluation], gallery: Sequence[Shown]) -> None:
    """Write the report on one run, or on two side by side."""
    # The script is a part of the package; nothing of a user is in it.
    script = (_TEMPLATES / "page.js").read_text("utf-8")
    write_template(path, "page.html", js=script, **_context(runs, gallery))


def write_template(path: Path, name: str, **context: Any) -> None:
    """Write an HTML file from a template and its values, atomically."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # names of classes and files are anyone's
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["counted"] = counted
    style = (_TEMPLATES / "page.css").read_text("utf-8")
    page = environment.get_template(name).render(css=style, **context)
    with atomic_write(path, "w") as file:
        file.write(page)


def _context(runs: Sequence[Evaluation], gallery: Sequence[Shown]) -> dict[str, Any]:
    first = runs[0].statistics
    letters = ["A", "B"] if len(runs) > 1 else [""]
    figures = tables.headline(runs)
    about = [
        {**_about(run), "letter": letter, "figures": {k: v[i] for k, v in figures.items()}}
        for i, (letter, run) in enumerate(zip(letters, runs, strict=True))
    ]
    curves = {letter: _curves(run) for letter, run in zip(letters, runs, strict=True)}
    return {
        "dataset": runs[0].dataset,
        "kind": first.kind,
        "num_images": len(first.images),
        "num_classes": first.classes.num_classes,
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "letters": letters,
        "runs": about,
        "classes": tables.class_table(runs, [shown.classes for shown in gallery]),
        "sizes": tables.size_table(runs),
        "confusions": [tables.confusion_table(run.statistics) for run in runs],
        "calibrations": [charts.reliability(run.statistics) for run in runs],
        "curves": charts.training_charts(curves),
        "config": tables.config_table(runs),
        "gallery": gallery,
        "groups": list(dict.fromkeys(group for shown in gallery for group in shown.groups)),
        "layers": list(gallery[0].pictures) if gallery else [],
        "meanings": {name: f"rgb{color}" for name, color in MEANINGS.items()},
    }


def _about(run: Evaluation) -> dict[str, Any]:
    """What was measured, on what machine, and how long it took."""
    milliseconds = 1000 * run.seconds
    device = run.predictor.model.device
    threads = torch.get_num_threads()
    return {
        "weights": run.cfg.MODEL.WEIGHTS,
        "architecture": run.cfg.MODEL.META_ARCHITECTURE,
        "median": float(np.median(milliseconds)),
        "slowest": float(np.percentile(milliseconds, 95)),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{threads} CPU thread{'s' if threads > 1 else ''}",
        "machine": f"{platform.machine()}, torch {torch.__version__}",
    }


def _curves(run: Evaluation) -> Curves:
    """Curves of the training; none where it wrote no figures."""
    try:
        return read_curves(Path(run.cfg.OUTPUT_DIR, "metrics.json"))
    except UserError:
        return {}

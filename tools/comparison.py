"""The document of tools/compare.py: a table, a curve and pictures."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.timing import describe_machine
from runs import mean_and_error
from tabulate import tabulate

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.reading import read_image, read_segment_ids
from d2_psformer.engine.analysis import analyze
from d2_psformer.engine.predictor import Predictor, return_one_result
from d2_psformer.report import image_quality
from d2_psformer.utils.files import atomic_write, write_picture
from d2_psformer.visualization import VideoOverlays, draw_sheet

if TYPE_CHECKING:
    from compare import Run

BEGIN, END = "<!-- tools/compare.py writes from here -->", "<!-- to here -->"
GOAL = 50.0  # the PQ whose time is in the table
FIGURES = {"PQ": "PQ", "SQ": "SQ", "RQ": "RQ", "PQ_th": "things", "PQ_st": "stuff"}
SIDE = 240  # of pictures, pixels: three are as wide as a page


def write_comparison(
    document: Path, runs: "list[Run]", seconds: dict[str, float], iterations: int
) -> None:
    """Write the part between the marks anew, or a document that has nothing else.

    Args:
        runs: that are done.
        seconds: of a training step, by model.
        iterations: of every run.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.model, []).append(run)
    curve, pictures = (
        document.with_name(f"{document.stem}_{x}") for x in ("curve.png", "scene.jpg")
    )
    draw_quality(groups, seconds, curve)
    write_picture(pictures, draw_results([group[0] for group in groups.values()]))
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    device = runs[0].settings["MODEL.DEVICE"]
    text = "\n\n".join(
        [
            BEGIN,
            f"{iterations} iterations, seeds {seeds}: means with the standard deviation. Minutes "
            f"are iterations times the time of a step on {describe_machine(device)}; evaluations "
            "are not counted.",
            as_table(groups, seconds, iterations),
            f"![Panoptic quality over time]({curve.name})",
            f"![One scene and what the models see in it]({pictures.name})",
            END,
        ]
    )
    old = document.read_text() if document.is_file() else f"# Comparison\n\n{BEGIN}{END}\n"
    before, _, rest = old.partition(BEGIN)
    document.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(document, "w") as file:
        file.write(before + text + rest.partition(END)[2])


def as_table(groups: "dict[str, list[Run]]", seconds: dict[str, float], iterations: int) -> str:
    """One row for each model."""
    rows = []
    for model, runs in groups.items():
        curves = [run.curves() for run in runs]
        row = {"": model}
        for key, title in FIGURES.items():
            row[title] = mean_and_error(found[f"panoptic_seg/{key}"][1][-1] for found in curves)
        minutes = seconds[model] / 60
        reached = [first_reaching(*found["panoptic_seg/PQ"]) for found in curves]
        known = [minutes * iteration for iteration in reached if iteration is not None]
        row[f"minutes to PQ {GOAL:.0f}"] = mean_and_error(known) if len(known) == len(runs) else "-"
        row["minutes in all"] = f"{minutes * iterations:.1f}"
        row["memory, MiB"] = f"{statistics.fmean(run.peak_memory() for run in runs):.0f}"
        cfg = runs[0].load_config()
        whole = analyze(cfg, _example(cfg)[0].shape[:2]).row()
        row["parameters, M"] = f"{whole['parameters'] / 1e6:.2f}"
        row["MFLOPs"] = f"{whole['flops'] / 1e6:.0f}"
        rows.append(row)
    return tabulate(rows, "keys", "github", disable_numparse=True)


def first_reaching(iterations: Sequence[int], qualities: Sequence[float]) -> float | None:
    """The iteration where a curve, straight between its points, reaches GOAL; None if nowhere."""
    before = (0, 0.0)
    for iteration, quality in zip(iterations, qualities, strict=True):
        if quality >= GOAL:
            share = (GOAL - before[1]) / (quality - before[1])
            return before[0] + share * (iteration - before[0])
        before = (iteration, quality)
    return None


def draw_quality(groups: "dict[str, list[Run]]", seconds: dict[str, float], path: Path) -> None:
    """Write a PNG: PQ over minutes of training; thin lines are seeds, thick ones their means."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display
    axes = figure.add_subplot()
    for number, (model, runs) in enumerate(groups.items()):
        curves = [run.curves()["panoptic_seg/PQ"] for run in runs]
        minutes = [seconds[model] / 60 * iteration for iteration in curves[0][0]]
        for _, qualities in curves:
            axes.plot(minutes, qualities, color=f"C{number}", linewidth=0.7, alpha=0.6)
        means = [statistics.fmean(values) for values in zip(*(c[1] for c in curves), strict=True)]
        axes.plot(minutes, means, "o-", color=f"C{number}", markersize=4, label=model)
    axes.axhline(GOAL, color="#888888", linewidth=0.8, linestyle="--")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("panoptic quality, %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def draw_results(runs: "list[Run]"):
    """The first scene for evaluation, its segments, and those that every run finds: a sheet."""
    cfg = runs[0].load_config()
    image, truth = _example(cfg)
    overlays = VideoOverlays(MetadataCatalog.get(cfg.DATASETS.TEST[0]), long_side=SIDE)
    shown = {"ground truth": overlays.draw(image, *truth)}
    for run in runs:
        cfg = run.load_config()
        cfg.MODEL.WEIGHTS = str(run.folder / "model_final.pth")
        cfg.MODEL.AUTOCAST = "float32"  # as in evaluation
        return_one_result(cfg)
        predictor = Predictor(cfg)
        ids, segments_info = predictor(image)["panoptic_seg"]
        found = ids.cpu().numpy(), segments_info
        quality = image_quality(predictor.metadata, truth, found)
        shown[f"{run.model}: PQ {quality:.0f} here"] = overlays.draw(image, *found)
    return draw_sheet([*shown.values()], [*shown], columns=3)


def _example(cfg) -> tuple:
    """The first image for evaluation, and its segments as (ids, segments_info)."""
    record = DatasetCatalog.get(cfg.DATASETS.TEST[0])[0]
    image = read_image(record, "RGB")
    return image, (read_segment_ids(record, image.shape[:2]), record["segments_info"])

"""A report on a trained model: figures, curves, and predictions beside the ground truth."""

import math
import os
from pathlib import Path

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..data import register_from_config
from ..data.reading import read_image
from ..evaluation import PanopticQuality
from ..evaluation.builder import ground_truth_kind
from ..utils.errors import UserError
from ..utils.files import atomic_write, safe_name, write_picture
from ..visualization import draw_overlay, draw_sheet, thumbnail
from ..visualization.curves import draw_curves, read_curves
from .data_sets import align_data_sets
from .evaluate import test
from .predictor import Predictor
from .result_segments import segments_of_record, segments_of_results

PANEL_SIDE, SHEET_SIDE = 640, 480  # longest sides of pictures, pixels
# By the kind of ground truth: the result that is reported, and (task, figure) -> name in the table.
SWITCHES = {"panoptic": "PANOPTIC_ON", "semantic": "SEMANTIC_ON", "instance": "INSTANCE_ON"}
_PQ = {"PQ": "PQ", "SQ": "SQ", "RQ": "RQ", "PQ_th": "PQ things", "PQ_st": "PQ stuff"}
COLUMNS = {
    "panoptic": {("panoptic_seg", key): name for key, name in _PQ.items()},
    "semantic": {("sem_seg", key): key for key in ("mIoU", "fwIoU", "mACC", "pACC")},
    "instance": {
        (task, key): f"{key} of {name}"
        for task, name in (("segm", "masks"), ("bbox", "boxes"))
        for key in ("AP", "AP50", "AP75")
    },
}


def write_report(
    cfg: CfgNode, output: Path | None = None, *, num_images: int = 12
) -> tuple[str, Path]:
    """Write ``report.md`` with its pictures on the first data set of DATASETS.TEST.

    Args:
        cfg: not frozen; MODEL.WEIGHTS is "model_final.pth" in OUTPUT_DIR if it is empty.
        output: folder to write to; default OUTPUT_DIR.
        num_images: pictures of so many images, evenly spaced.

    Returns:
        The table of figures in Markdown, and the folder.

    Raises:
        UserError: DATASETS.TEST does not begin with a data set that has ground truth, or see
            :class:`Predictor`.
    """
    kind = _prepare(cfg)
    output = output or Path(cfg.OUTPUT_DIR)
    predictor = Predictor(cfg)
    align_data_sets(cfg)
    files = _draw_pictures(predictor, cfg.DATASETS.TEST[0], kind, num_images, output)
    training_log = Path(cfg.OUTPUT_DIR, "metrics.json")
    if training_log.is_file():
        draw_curves(read_curves(training_log), output / "curves.png")
        files.insert(1, "curves.png")
    table = _figure_table(test(cfg, predictor.model), COLUMNS[kind])
    lines = [f"# Results on {cfg.DATASETS.TEST[0]}", f"Weights: `{cfg.MODEL.WEIGHTS}`", table]
    lines += [f"![{name}](<{name}>)" for name in files]
    with atomic_write(output / "report.md", "w") as file:
        file.write("\n\n".join(lines) + "\n")
    return table, output


def _prepare(cfg: CfgNode) -> str:
    """Register the data sets, find the weights and set the results that are needed.

    Returns:
        The kind of ground truth, see :func:`.ground_truth_kind`.
    """
    register_from_config(cfg)
    if not cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    cfg.DATASETS.TEST = cfg.DATASETS.TEST[:1]
    names = cfg.DATASETS.TEST
    kind = ground_truth_kind(MetadataCatalog.get(names[0])) if names else None
    if kind is None:
        raise UserError("DATASETS.TEST must begin with a data set that has ground truth.")
    for other, switch in SWITCHES.items():
        cfg.MODEL.POSTPROCESSING[switch] = other == kind
    if cfg.MODEL.AUTOCAST == "auto":  # figures compare only at the precision of an evaluation
        cfg.MODEL.AUTOCAST = "float32"
    return kind


def _draw_pictures(
    predictor: Predictor, dataset: str, kind: str, count: int, output: Path
) -> list[str]:
    """Write image, ground truth and prediction of ``count`` evenly spaced images, and a sheet.

    Returns:
        The names of the files in ``output``, the sheet's first.
    """
    records = DatasetCatalog.get(dataset)
    chosen = records[:: max(1, len(records) // count)][:count]
    files, predictions, titles = ["contact_sheet.png"], [], []
    for record in tqdm(chosen, desc="pictures", unit="image", disable=None):
        image = read_image(record, "RGB")
        truth = segments_of_record(record, image.shape[:2], kind)
        predicted = segments_of_results(predictor(image), predictor.metadata)

        nothing = np.zeros(image.shape[:2], np.int32), []
        panels = {"image": nothing, "ground truth": truth, "prediction": predicted}
        drawn = {
            name: draw_overlay(image, *result, predictor.metadata, long_side=PANEL_SIDE)
            for name, result in panels.items()
        }
        stem = safe_name(Path(record["file_name"]).stem)
        title = f"{stem}: PQ {image_quality(predictor.metadata, truth, predicted):.0f}"
        figure = draw_sheet([*drawn.values()], [*drawn], columns=3, title=f"{title} on this image")
        files.append(f"pictures/{len(files):02d}_{stem}.png")
        write_picture(output / files[-1], figure)
        predictions.append(thumbnail(drawn["prediction"], SHEET_SIDE))
        titles.append(title)
    sheet = draw_sheet(predictions, titles, columns=4, title=f"Predictions on {dataset}")
    write_picture(output / files[0], sheet)
    return files


def image_quality(metadata, truth: tuple, predicted: tuple) -> float:
    """Panoptic quality of one image in percent; both as (ids, segments_info)."""
    layout = Classes.from_metadata(metadata)
    classes = [{"id": c, "isthing": c in layout.thing_ids} for c in range(layout.num_classes)]
    quality = PanopticQuality(classes)
    quality.add("of the picture", *truth, *predicted)
    return 100 * quality.results()["All"]["pq"]


def _figure_table(results: dict[str, dict], columns: dict[tuple[str, str], str]) -> str:
    """A Markdown table; "-" for NaN (null in JSON), the figure of no class."""
    found = [results[task][key] for task, key in columns]
    row = ["this model", *(None if x is None or math.isnan(x) else x for x in found)]
    return tabulate([row], ["%", *columns.values()], "github", floatfmt=".1f", missingval="-")

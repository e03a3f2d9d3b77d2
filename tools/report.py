#!/usr/bin/env python
"""How a trained model does on its test data: figures, curves, and predictions beside the truth."""

import argparse
import math
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

import d2_psformer.modeling  # noqa: F401  registers models
from d2_psformer.classes import Classes
from d2_psformer.command_errors import told_in_one_sentence
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.utils import setup_logger
from d2_psformer.data import register_from_config
from d2_psformer.data.files import atomic_write, read_json
from d2_psformer.data.reading import read_image, read_segment_ids
from d2_psformer.engine import Predictor, align_data_sets, load_config, test
from d2_psformer.evaluation import PanopticQuality
from d2_psformer.evaluation.builder import has_ground_truth
from d2_psformer.evaluation.colour_baseline import evaluate_colour_baseline
from d2_psformer.visualization import draw_overlay, draw_sheet, thumbnail, write_picture
from d2_psformer.visualization.curves import draw_curves, read_curves

PANEL_SIDE, SHEET_SIDE = 640, 480  # longest sides of pictures, pixels
COLUMNS = ("PQ", "SQ", "RQ", "PQ_th", "PQ_st")

EPILOG = """
Examples:
  after training the demo      tools/report.py --config-file configs/scenes/demo.yaml
  another checkpoint           tools/report.py --config-file FILE MODEL.WEIGHTS output/model.pth

Written to --output: report.md (panoptic quality beside that of labelling by colour), curves.png (if
OUTPUT_DIR holds the metrics.json of a training), contact_sheet.png, and pictures/*.png (image,
ground truth, prediction). Figures of an evaluation of these weights are used if OUTPUT_DIR has
them; else the model is evaluated. Any data set with panoptic ground truth will do.
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="config of the model")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder to write to (default: OUTPUT_DIR)"
    )
    parser.add_argument(
        "--num-images", type=int, default=12, metavar="N", help="pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--no-baseline", action="store_true", help="leave out the colour baseline (large data)"
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )
    args = parser.parse_args(arguments)
    if args.num_images < 1:
        parser.error(f"--num-images is {args.num_images}: give 1 or more")
    return args


@told_in_one_sentence()
def main(arguments: list[str] | None = None) -> None:
    args = parse_args(arguments)
    cfg = build_config(args)
    output = args.output or Path(cfg.OUTPUT_DIR)
    predictor = Predictor(cfg)
    align_data_sets(cfg)
    files = draw_pictures(predictor, cfg.DATASETS.TEST[0], args.num_images, output)
    training_log = Path(cfg.OUTPUT_DIR, "metrics.json")
    if training_log.is_file():
        draw_curves(read_curves(training_log), output / "curves.png")
        files.insert(1, "curves.png")
    figures = {"this model": model_figures(cfg, predictor)}
    if not args.no_baseline:
        figures["nearest mean colour"] = baseline_figures(cfg)
    table = figure_table(figures)
    lines = [f"# Results on {cfg.DATASETS.TEST[0]}", f"Weights: `{cfg.MODEL.WEIGHTS}`", table]
    lines += [f"![{name}](<{name}>)" for name in files]
    with atomic_write(output / "report.md", "w") as file:
        file.write("\n\n".join(lines) + "\n")
    print(f"{table}\n\nPictures are in {output}: start with contact_sheet.png or report.md")


def build_config(args: argparse.Namespace) -> CfgNode:
    """The config with its data sets registered and its weights found.

    Raises:
        ValueError: DATASETS.TEST names nothing with ground truth.
    """
    cfg = load_config(args.config_file, args.opts)
    register_from_config(cfg)
    if not cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    cfg.DATASETS.TEST = cfg.DATASETS.TEST[:1]
    if not cfg.DATASETS.TEST or not has_ground_truth(MetadataCatalog.get(cfg.DATASETS.TEST[0])):
        raise ValueError("DATASETS.TEST must begin with a data set that has panoptic ground truth.")
    test_node = cfg.MODEL.PSFORMER.TEST
    test_node.PANOPTIC_ON, test_node.SEMANTIC_ON, test_node.INSTANCE_ON = True, False, False
    return cfg


def draw_pictures(predictor: Predictor, dataset: str, count: int, output: Path) -> list[str]:
    """Write image, ground truth and prediction of ``count`` evenly spaced images, and a sheet.

    Returns:
        the names of the files in ``output``, the sheet's first.
    """
    records = DatasetCatalog.get(dataset)
    chosen = records[:: max(1, len(records) // count)][:count]
    files, predictions, titles = ["contact_sheet.png"], [], []
    for record in tqdm(chosen, desc="pictures", unit="image", disable=None):
        image = read_image(record, "RGB")
        truth = read_segment_ids(record, image.shape[:2]), record["segments_info"]
        ids, segments_info = predictor(image)["panoptic_seg"]
        predicted = ids.cpu().numpy(), segments_info

        nothing = np.zeros(image.shape[:2], np.int32), []
        panels = {"image": nothing, "ground truth": truth, "prediction": predicted}
        drawn = {
            name: draw_overlay(image, *result, predictor.metadata, long_side=PANEL_SIDE)
            for name, result in panels.items()
        }
        stem = Path(record["file_name"]).stem
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


def model_figures(cfg: CfgNode, predictor: Predictor) -> dict[str, float]:
    """Panoptic quality in percent: as last evaluated with these very weights, or evaluated now."""
    found = Path(cfg.OUTPUT_DIR, "inference", cfg.DATASETS.TEST[0], "metrics.json")
    weights = Path(cfg.MODEL.WEIGHTS)
    if found.is_file() and weights.is_file() and found.stat().st_mtime > weights.stat().st_mtime:
        return read_json(found)["panoptic_seg"]
    return test(cfg, predictor.model)["panoptic_seg"]


def baseline_figures(cfg: CfgNode) -> dict[str, float]:
    return evaluate_colour_baseline(cfg.DATASETS.TRAIN[0], cfg.DATASETS.TEST[0])["panoptic_seg"]


def figure_table(figures: dict[str, dict[str, float]]) -> str:
    """A Markdown table that reads well as plain text too."""
    names = {"PQ_th": "PQ things", "PQ_st": "PQ stuff"}
    rows = [["%", *(names.get(key, key) for key in COLUMNS)]]
    rows.append(["-" * 19, *("-" * 9 for _ in COLUMNS)])
    for label, values in figures.items():
        rows.append([label, *(percent(values[key]) for key in COLUMNS)])
    return "\n".join(
        f"| {first:19s} | " + " | ".join(f"{cell:>9s}" for cell in rest) + " |"
        for first, *rest in rows
    )


def percent(value: float | None) -> str:
    """JSON has null for a split without classes."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}"


if __name__ == "__main__":
    setup_logger(name="d2_psformer")
    main()

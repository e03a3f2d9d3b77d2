"""``psformer predict``, which ``demo.py`` calls too."""

import argparse
import sys
import traceback
from pathlib import Path

from ..utils.errors import UserError, is_user_error, sentence_of
from ..utils.wording import counted

SUMMARY = "segment images and videos: pictures, segment ids and JSON"
EPILOG = """
Examples:
  the small model of this package on generated scenes
      psformer predict
  your images with a model that you have trained
      psformer predict a.jpg holiday/ "cats/*.png" --model output/mine --output output/pictures
  with a converted checkpoint
      psformer predict a.jpg --model coco/psformer_R50_2x --weights psformer_R50_2x.pth
  a video, only segments of a high score
      psformer predict walk.mp4 --model output/mine/model_final.pth --confidence-threshold 0.6
  images of your data set beside their ground truth and what the model finds
      psformer predict --side-by-side --data mine --model output/mine
  what the decoders attend to, for all stars and for segment 3
      psformer predict --attention star 3

Written to --output, for an image NAME.jpg: NAME_overlay.jpg, NAME_ids.png (segment id = R + 256 G +
65536 B, 0 is void) and NAME_segments.json; for all images panoptic.json (COCO panoptic format) and
contact_sheet.jpg. For a video NAME.mp4: NAME_overlay.mp4 and NAME_segments.json, frame by frame.
With --side-by-side, for an image, NAME_side_by_side.jpg: image, ground truth (with --data),
prediction.
A model without panoptic results gives its instances (of a score of 0.5 or more; small ones lie on
top) or the regions of its classes.
With --attention, for every chosen segment of an image, in the folder NAME_attention:
ID_CLASS_maps.jpg (each head of each layer of the mask decoder on each level) and, for things,
ID_CLASS_points.jpg (points that the layers of the location decoder read, and their boxes).
"""
DEMO = "scenes/demo"
# The scenes shown without inputs: far from those of the training and validation sets.
FIRST_SCENE, NUM_SCENES = 20_000_000, 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    kinds = "images, videos, folders or quoted patterns (default: a few generated scenes)"
    add("input", nargs="*", metavar="INPUT", help=kinds)
    add("--input", dest="more_input", nargs="+", default=[], metavar="PATH", help="more of these")
    add(
        "--model",
        "--config-file",
        metavar="MODEL",
        help="checkpoint of a training or its folder, hf:owner/name, or a config (file or name) "
        "with --weights (default: the small model of this package)",
    )
    add("--weights", metavar="FILE", help="checkpoint for a config (default: MODEL.WEIGHTS)")
    add(
        "--output",
        type=Path,
        default=Path("output/pictures"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    add(
        "--confidence-threshold",
        type=_share,
        metavar="P",
        help="drop segments with a lower score, 0 to 1 (default: the config's)",
    )
    add(
        "--side-by-side",
        action="store_true",
        help="also draw each image, with --data its ground truth, and the prediction in a row",
    )
    add(
        "--data",
        metavar="YAML_OR_DIR",
        help="data.yaml with the ground truth, or its folder: the images of its DATASETS.TEST[0] "
        "are segmented if there is no INPUT",
    )
    add(
        "--attention",
        nargs="*",
        metavar="SEGMENT",
        help="draw what the decoders of Panoptic SegFormer attend to, for segments of these ids or "
        "classes in every image (default: the few of the highest scores)",
    )
    add("--opts", nargs=argparse.REMAINDER, default=[], help="at the very end: KEY VALUE ...")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no score: give 0 to 1")
    return value


def run(args: argparse.Namespace) -> int:
    given = args.input + args.more_input
    if args.model and not given and not args.data:
        raise UserError("Say what to segment: an image, folder, quoted pattern or video.")
    from ..d2.utils import setup_logger
    from ..engine import Predictor
    from ..engine.ground_truth import GroundTruth
    from ..engine.segment_files import check_output, segment_files
    from ..visualization import find_inputs

    setup_logger(name="d2_psformer")
    if not given and not args.data:
        given = [write_example_scenes(args.output / "inputs")]
    inputs = find_inputs(given)
    check_output(args.output, inputs)
    cfg = build_config(args)
    predictor = Predictor(cfg)
    truth = GroundTruth(cfg) if args.data else None
    inputs = inputs or find_inputs(truth.paths)
    failures = segment_files(
        predictor,
        inputs,
        args.output,
        args.attention,
        args.confidence_threshold,
        side_by_side=args.side_by_side,
        truth=truth,
    )
    done = f"{len(inputs) - len(failures)} of {counted(len(inputs), 'file')}"
    print(f"{done} done: look in {args.output}")
    for path, error in failures.items():
        if is_user_error(error):
            print(sentence_of(error), file=sys.stderr)
        else:
            print(f"'{path}' failed:", file=sys.stderr)
            traceback.print_exception(error)
    return 1 if failures else 0


def config_of(model: str, weights: str | None, opts: list[str]):
    """The config that ``model`` names, with its checkpoint as MODEL.WEIGHTS."""
    from ..api.configs import model_config

    settings = dict(zip(opts[::2], opts[1::2], strict=False))
    cfg = model_config(model, weights or settings.get("MODEL.WEIGHTS"))
    cfg.merge_from_list(opts)
    return cfg


def build_config(args: argparse.Namespace):
    from ..data import register_from_config
    from ..data.description import read_data_yaml
    from ..engine import return_one_result

    cfg = config_of(args.model or DEMO, args.weights, args.opts)
    if args.data:
        cfg.merge_loaded(read_data_yaml(args.data), args.data)
        cfg.merge_from_list(args.opts)
        register_from_config(cfg)
    return_one_result(cfg)
    if args.confidence_threshold is not None:
        cfg.MODEL.POSTPROCESSING.SCORE_THRESHOLD = args.confidence_threshold
    return cfg


def write_example_scenes(folder: Path) -> str:
    """Write generated images that no training has seen to ``folder``."""
    from ..data.scenes import generate_scene
    from ..utils.files import write_picture

    for i in range(NUM_SCENES):
        image, _, _ = generate_scene(FIRST_SCENE + i)
        write_picture(folder / f"scene_{i + 1}.png", image)
    return str(folder)

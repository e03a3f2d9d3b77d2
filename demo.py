#!/usr/bin/env python
"""Segment images and videos: pictures, segment ids and JSON. No data set or display is needed.

Examples:
  the small model of this repository on generated scenes
      demo.py
  your images with a trained model
      demo.py --config-file configs/coco/psformer_R50_2x.yaml --input a.jpg holiday/ "cats/*.png"
              --output output/mine --opts MODEL.WEIGHTS model.pth
  a video, only segments of a high score
      demo.py --config-file FILE --input walk.mp4 --confidence-threshold 0.6
              --opts MODEL.WEIGHTS model.pth
  what the decoders attend to, for all stars and for segment 3
      demo.py --attention star 3

Written to --output, for an image NAME.jpg: NAME_overlay.jpg, NAME_ids.png (segment id = R + 256 G +
65536 B, 0 is void) and NAME_segments.json; for all images panoptic.json (COCO panoptic format) and
contact_sheet.jpg. For a video NAME.mp4: NAME_overlay.mp4 and NAME_segments.json, frame by frame.
A model without panoptic results gives its instances (of a score of 0.5 or more; small ones lie on
top) or the regions of its classes.
With --attention, for every chosen segment of an image, in the folder NAME_attention:
ID_CLASS_maps.jpg (each head of each layer of the mask decoder on each level) and, for things,
ID_CLASS_points.jpg (points that the layers of the location decoder read, and their boxes).
"""

import argparse
import sys
import traceback
from pathlib import Path

from d2_psformer.utils.commands import report_user_errors
from d2_psformer.utils.errors import is_user_error, sentence_of

ROOT = Path(__file__).parent
SCENES_CONFIG = ROOT / "configs" / "scenes" / "demo.yaml"
SCENES_WEIGHTS = ROOT / "demo" / "psformer_scenes.pth"
# The scenes shown without --input: far from those of the training and validation sets.
FIRST_SCENE, NUM_SCENES = 20_000_000, 8


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", metavar="FILE", help="config of the model (default: of generated scenes)")
    add(
        "--input",
        nargs="+",
        metavar="PATH",
        help="images, videos, folders or quoted patterns (default: a few generated scenes)",
    )
    add(
        "--output",
        type=Path,
        default=Path("output/pictures"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    add(
        "--confidence-threshold",
        type=float,
        metavar="P",
        help="drop segments with a lower score, 0 to 1 (default: the config's)",
    )
    add(
        "--attention",
        nargs="*",
        metavar="SEGMENT",
        help="draw what the decoders of Panoptic SegFormer attend to, for segments of these ids or "
        "classes in every image (default: the few of the highest scores)",
    )
    add("--opts", nargs=argparse.REMAINDER, default=[], help="at the very end: KEY VALUE ...")
    args = parser.parse_args(arguments)
    if args.config_file and not args.input:
        parser.error("say what to segment: --input IMAGE, FOLDER, PATTERN or VIDEO")
    if args.confidence_threshold is not None and not 0 <= args.confidence_threshold <= 1:
        parser.error(f"--confidence-threshold is {args.confidence_threshold}: give 0 to 1")
    return args


# Imports are late so that --help and wrong arguments are answered at once.
@report_user_errors()
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    from d2_psformer.engine import Predictor
    from d2_psformer.engine.segment_files import check_output, segment_files
    from d2_psformer.visualization import find_inputs

    inputs = find_inputs(args.input or [write_example_scenes(args.output / "inputs")])
    check_output(args.output, inputs)
    predictor = Predictor(build_config(args))
    failures = segment_files(
        predictor, inputs, args.output, args.attention, args.confidence_threshold
    )
    print(f"{len(inputs) - len(failures)} of {len(inputs)} files done: look in {args.output}")
    for path, error in failures.items():
        if is_user_error(error):
            print(f"demo.py: {sentence_of(error)}", file=sys.stderr)
        else:
            print(f"demo.py: '{path}' failed:", file=sys.stderr)
            traceback.print_exception(error)
    return 1 if failures else 0


def build_config(args: argparse.Namespace):
    from d2_psformer.engine import load_config, return_one_result

    cfg = load_config(args.config_file or str(SCENES_CONFIG), args.opts)
    if not args.config_file and not cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = str(SCENES_WEIGHTS)
    return_one_result(cfg)
    if args.confidence_threshold is not None:
        cfg.MODEL.POSTPROCESSING.SCORE_THRESHOLD = args.confidence_threshold
    return cfg


def write_example_scenes(folder: Path) -> str:
    """Write generated images that no training has seen to ``folder``."""
    from d2_psformer.data.scenes import generate_scene
    from d2_psformer.utils.files import write_picture

    for i in range(NUM_SCENES):
        image, _, _ = generate_scene(FIRST_SCENE + i)
        write_picture(folder / f"scene_{i + 1}.png", image)
    return str(folder)


if __name__ == "__main__":
    sys.exit(main())

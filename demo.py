#!/usr/bin/env python
"""Segment images and videos: pictures, segment ids and JSON. Needs no data set and no display."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from tqdm import tqdm

import d2_psformer.modeling  # noqa: F401  registers models
from d2_psformer.command_errors import told_in_one_sentence
from d2_psformer.d2.config import CfgNode
from d2_psformer.data.files import write_json
from d2_psformer.data.images import read_pixels
from d2_psformer.data.scenes import generate_scene
from d2_psformer.engine import Predictor, load_config
from d2_psformer.visualization import (
    Input,
    ResultWriter,
    Video,
    VideoOverlays,
    check_choice,
    choose_segments,
    draw_sheet,
    find_inputs,
    recording_attention,
    thumbnail,
    write_attention,
    write_picture,
    write_video,
)

ROOT = Path(__file__).parent
SCENES_CONFIG = ROOT / "configs" / "scenes" / "demo.yaml"
SCENES_WEIGHTS = ROOT / "demo" / "psformer_scenes.pth"
# The scenes shown without --input: far from those of the training and validation sets.
FIRST_SCENE, NUM_SCENES = 20_000_000, 8
# Pictures on the contact sheet, at most, and the longest side of each in pixels.
SHEET_PICTURES, SHEET_SIDE = 24, 480

EPILOG = """
Examples:
  the small model of this repository on generated scenes
      demo.py
  your images with a trained model
      demo.py --config-file configs/coco/psformer_R50_2x.yaml --input a.jpg holiday/ "cats/*.png"
              --output output/mine --opts MODEL.WEIGHTS model.pth
  a video, only sure segments
      demo.py --config-file FILE --input walk.mp4 --confidence-threshold 0.6
              --opts MODEL.WEIGHTS model.pth
  what the decoders attend to, for all stars and for segment 3
      demo.py --attention star 3

Written to --output, for an image NAME.jpg: NAME_overlay.jpg, NAME_ids.png (segment id = R + 256 G +
65536 B, 0 is void) and NAME_segments.json; for all images panoptic.json (COCO panoptic format) and
contact_sheet.jpg. For a video NAME.mp4: NAME_overlay.mp4 and NAME_segments.json, frame by frame.
With --attention, for every chosen segment of an image, in the folder NAME_attention:
ID_CLASS_maps.jpg (each head of each layer of the mask decoder on each level) and, for things,
ID_CLASS_points.jpg (points that the layers of the location decoder read, and their boxes).
"""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", metavar="FILE", help="config of the model (default: the generated scenes')"
    )
    parser.add_argument(
        "--input",
        nargs="+",
        metavar="PATH",
        help="images, videos, folders or quoted patterns (default: a few generated scenes)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/pictures"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        metavar="P",
        help="drop segments with a lower score, 0 to 1 (default: the config's)",
    )
    parser.add_argument(
        "--attention",
        nargs="*",
        metavar="SEGMENT",
        help="draw what the decoders attend to, for segments of these ids or classes in every "
        "image (default: the surest few)",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )
    args = parser.parse_args(arguments)
    if args.config_file and not args.input:
        parser.error("say what to segment: --input IMAGE, FOLDER, PATTERN or VIDEO")
    if args.confidence_threshold is not None and not 0 <= args.confidence_threshold <= 1:
        parser.error(f"--confidence-threshold is {args.confidence_threshold}: give 0 to 1")
    return args


@told_in_one_sentence()
def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    inputs = find_inputs(args.input or [write_example_scenes(args.output / "inputs")])
    check_output(args.output, inputs)
    predictor = Predictor(build_config(args))
    check_choice(args.attention or [], predictor.metadata)

    writer = ResultWriter(args.output, predictor.metadata)
    pictures, failures = {}, []
    for item in tqdm(inputs, desc="segmenting", unit="file", disable=None):
        try:
            if item.is_video:
                segment_video(predictor, item, writer)
                continue
            overlay = segment_image(predictor, item, writer, args.attention)
        except UnreadableError as error:
            failures.append(str(error))
            continue
        if len(pictures) < SHEET_PICTURES:
            pictures[item.name] = thumbnail(overlay, SHEET_SIDE)
    writer.write_summary()
    if len(pictures) > 1:
        sheet = draw_sheet([*pictures.values()], [*pictures], columns=4)
        write_picture(args.output / "contact_sheet.jpg", sheet)

    print(f"{len(inputs) - len(failures)} of {len(inputs)} files done: look in {args.output}")
    for failure in failures:
        print(f"demo.py: {failure}", file=sys.stderr)
    return 1 if failures else 0


class UnreadableError(Exception):
    """One sentence about a file that is left out."""


def build_config(args: argparse.Namespace) -> CfgNode:
    cfg = load_config(args.config_file or str(SCENES_CONFIG), args.opts)
    if not args.config_file and not cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = str(SCENES_WEIGHTS)
    test = cfg.MODEL.POSTPROCESSING
    test.PANOPTIC_ON, test.SEMANTIC_ON, test.INSTANCE_ON = True, False, False
    if args.confidence_threshold is not None:
        test.SCORE_THRESHOLD = args.confidence_threshold
    return cfg


def write_example_scenes(folder: Path) -> str:
    """Write generated images that no training has seen to ``folder``."""
    for i in range(NUM_SCENES):
        image, _, _ = generate_scene(FIRST_SCENE + i)
        write_picture(folder / f"scene_{i + 1}.png", image)
    return str(folder)


def check_output(folder: Path, inputs: list[Input]) -> None:
    """Keep results out of the folders of the inputs, where a second run would take them for such.

    Raises:
        ValueError: an input lies in ``folder``.
    """
    for item in inputs:
        if item.path.resolve().parent == folder.resolve():
            raise ValueError(f"'{item.path}' lies in the folder of the results: change --output.")


def segment_image(
    predictor: Predictor, item: Input, writer: ResultWriter, attention: list[str] | None
) -> np.ndarray:
    """Write the results of one image, and attention unless it is None; returns the overlay."""
    try:
        image = read_pixels(item.path, "RGB")
    except (FileNotFoundError, ValueError) as error:
        raise UnreadableError(str(error)) from error
    recording = nullcontext() if attention is None else recording_attention(predictor.model)
    with recording as record:
        ids, segments_info = predictor(image)["panoptic_seg"]
    ids = ids.cpu().numpy()
    if record is not None:
        chosen = choose_segments(segments_info, attention, predictor.metadata)
        if not chosen:
            tqdm.write(f"{item.name} has no segment for --attention {' '.join(attention)}")
        folder = writer.folder / f"{item.name}_attention"
        write_attention(folder, image, ids, chosen, record, predictor.metadata)
    return writer.write(item.name, str(item.path), image, ids, segments_info)


def segment_video(predictor: Predictor, item: Input, writer: ResultWriter) -> None:
    """Write the results of one video, frame by frame."""
    try:
        video = Video(item.path)
    except ValueError as error:
        raise UnreadableError(str(error)) from error
    overlays, frames = VideoOverlays(predictor.metadata), []
    target = writer.folder / f"{item.name}_overlay.mp4"
    with write_video(target, video.rate) as output:
        for image in tqdm(
            video, total=video.length or None, desc=item.name, unit="frame", disable=None
        ):
            ids, segments_info = predictor(image)["panoptic_seg"]
            ids = ids.cpu().numpy()
            output.add(overlays.draw(image, ids, segments_info))
            frames.append(
                {"frame": len(frames), "segments_info": writer.describe(ids, segments_info)}
            )
    if not frames:
        raise UnreadableError(f"Video '{item.path}' is left out: it has no frame.")
    write_json(
        writer.folder / f"{item.name}_segments.json",
        {"video": str(item.path), "rate": video.rate, "overlay": target.name, "frames": frames},
    )


if __name__ == "__main__":
    sys.exit(main())

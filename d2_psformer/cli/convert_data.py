"""``psformer convert-data``: annotation of other formats to COCO panoptic, and back."""

import argparse
import sys
from pathlib import Path

from ..utils.commands import add_workers
from ..utils.wording import counted

SUMMARY = "convert annotation of another format, or predictions, and describe it in data.yaml"
EPILOG = """\
Formats, and what SOURCE is:
  coco-instances   a JSON of polygons or run lengths; needs --images
  coco-panoptic    a JSON, its PNGs beside it or in the folder of its name (predictions;
                   Mapillary's panoptic_2018.json, panoptic_2020.json); needs --images
  cvat             annotations.xml of "CVAT for images"; needs --images
  instance-ids     a folder of PNGs of 1000 class + number, as Cityscapes has them; needs
                   --images, --classes and --stuff
  labelme          a folder of JSON files, the images beside them unless --images is given
  mapillary        the folder instances of Mapillary Vistas, PNGs of 256 label + number; needs
                   --images and, as --categories, config_v1.2.json
  semantic         a folder of grey PNGs of classes; needs --images and --classes
  yolo             data.yaml of polygons; its entry of the --split (folders or text lists of images)
                   unless --images is given

Where shapes overlap, a pixel belongs to the shape on the highest layer (CVAT's z-order), then to
things before crowds before stuff, then to the smaller shape. Images stay where they are. The same
command again goes on after an interruption.

Examples:
  psformer convert-data labelme photos/train fruit --split train
  psformer convert-data labelme photos/val fruit --split val
  psformer convert-data coco-instances instances.json pets --images images --stuff grass sky
  psformer convert-data yolo data.yaml parts --split val --background background
  psformer convert-data semantic label_pngs streets --images images --classes road tree sky
  psformer convert-data coco-panoptic predictions.json out --images images --to instances
Then:
  psformer check --data fruit
  psformer train --config coco/mask2former_R50 --data fruit
"""
FORMATS = (
    *("coco-instances", "coco-panoptic", "cvat", "instance-ids", "labelme", "mapillary"),
    *("semantic", "yolo"),
)
_MOSTLY_VOID = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("format", choices=FORMATS, metavar="FORMAT", help="of the annotation, see below")
    add("source", type=Path, metavar="SOURCE", help="file or folder of the annotation")
    add("output", type=Path, metavar="DIR", help="folder of the result, with its data.yaml")
    add("--images", type=Path, metavar="DIR", help="folder of the images")
    add("--split", default="train", help="train, val, ...; names the files (default: train)")
    add("--name", help="of the data set in data.yaml (default: folder and split)")
    add(
        "--to",
        choices=("panoptic", "instances", "semantic"),
        default="panoptic",
        help="format of the result (default: COCO panoptic)",
    )
    add(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="names in their order, or a file with one a line; of PNGs, NAME=VALUE or the values "
        "in turn (default: those that the source names)",
    )
    add("--stuff", nargs="*", metavar="NAME", help="the classes that are stuff; the rest is things")
    add("--background", metavar="NAME", help="a stuff class for pixels without any (default: void)")
    add("--void", nargs="*", type=int, metavar="VALUE", help="values of no class in PNGs")
    add("--label-suffix", default=".png", help="end of a PNG's name after what images share")
    add("--image-suffix", default=".png", help="likewise of its image; any extension will do")
    add(
        "--categories",
        type=Path,
        metavar="FILE",
        help="JSON of categories, for predictions and Mapillary",
    )
    add("--force", action="store_true", help="replace a data set that data.yaml lists already")
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    from ..d2.utils import setup_logger
    from ..data.converters import Source, convert

    setup_logger(name="d2_psformer")
    source = Source(
        path=args.source,
        images=args.images,
        classes=_listed(args.classes),
        stuff=args.stuff,
        void=args.void,
        split=args.split,
        suffixes=(args.label_suffix, args.image_suffix),
        categories=args.categories,
    )
    try:
        summary = convert(
            args.format,
            source,
            args.output,
            to=args.to,
            name=args.name,
            background=args.background,
            force=args.force,
            workers=args.workers,
        )
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: the same command goes on where it stopped.\n")
        return 130
    segments = f"{counted(summary.things, 'thing')} and {counted(summary.stuff, 'stuff segment')}"
    lines = [
        f"{summary.name}: {counted(summary.images, 'image')}, {segments}, {summary.void:.0%} of "
        f"the pixels void. Written to {args.output}."
    ]
    if summary.hidden:
        hidden = counted(summary.hidden, "segment")
        lines.append(f"Left out: {hidden} without a pixel of its own.")
    if not summary.things + summary.stuff:
        lines.append("No image has a segment: is it the annotation of these images, with outlines?")
    elif args.to == "panoptic" and summary.void > _MOSTLY_VOID:
        lines.append(
            "PQ is not judged in void: what a model finds there costs nothing. Make it a class "
            "with --background NAME, unless objects there were not annotated."
        )
    lines.append(f"Check it: psformer check --data {args.output}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _listed(classes: list[str] | None) -> list[str] | None:
    """The names, or the lines of the one .txt or other file that is named."""
    from ..utils.errors import UserError

    if not classes or len(classes) > 1:
        return classes
    file = Path(classes[0])
    if not file.is_file() and file.suffix.lower() != ".txt":
        return classes
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"'{file}' is no text in UTF-8: write a class a line.") from error
    return [line.strip() for line in lines if line.strip()]

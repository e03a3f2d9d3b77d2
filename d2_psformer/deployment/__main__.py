"""Segment images with an exported model: ``python -m d2_psformer.deployment``."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from .images import read_image
from .model import Model, id_picture
from .postprocessing import Result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.deployment",
        description="Segment images with an ONNX file of `psformer export`, without PyTorch. It "
        "writes, for NAME.jpg, NAME_segments.json and NAME_ids.png (segment id = R + 256 G + 65536 "
        "B), or NAME_classes.png (class index) if the model has semantic results alone.",
    )
    parser.add_argument("model", type=Path, help="the ONNX file")
    parser.add_argument("images", type=Path, nargs="+", help="pictures")
    parser.add_argument("--output", type=Path, default=Path("output/deployment"), metavar="DIR")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime (all)")
    options = parser.parse_args(arguments)
    if missing := [path for path in (options.model, *options.images) if not path.is_file()]:
        parser.error(f"'{missing[0]}' does not exist")
    try:
        model = Model(options.model, threads=options.threads)
    except ValueError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in options.images:
        try:
            result = _segment(model, path)
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            failed = 1
            continue
        stem = options.output / path.stem
        if result.panoptic is None:
            classes = Image.fromarray(result.classes().astype(np.uint8))
            classes.save(f"{stem}_classes.png")
        else:
            id_picture(result.panoptic).save(f"{stem}_ids.png")
            Path(f"{stem}_segments.json").write_text(json.dumps(result.segments, indent=1))
        sys.stdout.write(f"{path}: {len(result.segments)} found\n")
    return failed


def _segment(model: Model, path: Path) -> Result:
    """
    Raises:
        ValueError: the image cannot be read, or segmented; it is named.
    """
    pixels = read_image(path)
    try:
        return model(pixels)
    except ValueError as error:
        raise ValueError(f"Image '{path}': {error}") from error


if __name__ == "__main__":
    sys.exit(main())

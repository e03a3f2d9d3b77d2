#!/usr/bin/env python
"""Turn a released checkpoint of other code into one of ours."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works before installation too

from d2_psformer.utils.commands import report_user_errors

SOURCES = {
    "official": "Panoptic SegFormer by its authors (zhiqi-li/Panoptic-SegFormer)",
    "maskformer": "MaskFormer and its per-pixel baselines (facebookresearch/MaskFormer)",
    "mask2former": "Mask2Former (facebookresearch/Mask2Former)",
    "hf-maskformer": "MaskFormerForInstanceSegmentation of transformers",
    "hf-mask2former": "Mask2FormerForUniversalSegmentation of transformers",
    "deeplab2": "MaX-DeepLab for COCO, or its ImageNet model (google-research/deeplab2)",
    "ours": "this package",
}
EPILOG = "\n".join(
    (
        "Sources:",
        *(f"  {name:15} {meaning}" for name, meaning in SOURCES.items()),
        """
Examples:
  python tools/convert_checkpoint.py panoptic_segformer_r50_2x.pth psformer_R50_2x.pth
  python tools/convert_checkpoint.py --source mask2former model_final.pkl mask2former_R50.pth
  python tools/convert_checkpoint.py --source hf-maskformer model.safetensors maskformer_SwinT.pth
  python tools/convert_checkpoint.py --source hf-mask2former model.safetensors.index.json ours.pth
  python tools/convert_checkpoint.py --source deeplab2 ckpt-100000.index max_deeplab_S_641.pth

Files of Detectron2's model zoos (.pkl) are read without running code in them. Checkpoints of
TensorFlow (.index, with .data-00000-of-00001 beside it) are read without TensorFlow.""",
    )
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--source",
        choices=SOURCES,
        metavar="SOURCE",
        default="official",
        help="whose names the parameters have, see below (default: %(default)s)",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load Python objects in the file too; they can run code",
    )
    kinds = ".pth, .bin, .pkl, .safetensors, .index.json, .index"
    parser.add_argument("input", metavar="IN", help=f"a file {kinds}")
    parser.add_argument("output", metavar="OUT.pth", help="file to write, for MODEL.WEIGHTS")
    return parser.parse_args()


@report_user_errors()
def main() -> None:
    args = parse_args()
    import torch

    from d2_psformer.checkpoint import check_finite, convert, read_checkpoint
    from d2_psformer.utils.errors import UserError
    from d2_psformer.utils.files import atomic_write

    model = read_checkpoint(args.input, args.trust)["model"]
    try:
        if args.source != "ours":
            model = convert(model, args.source)
        check_finite(model, "the weights", "use another file, or download it again")
    except UserError as error:
        raise UserError(f"'{args.input}': {error}") from error
    with atomic_write(args.output) as file:
        torch.save({"model": model}, file)
    total = sum(x.numel() for x in model.values())
    print(f"{args.output}: {len(model)} tensors, {total / 1e6:.1f}M numbers.")


if __name__ == "__main__":
    main()

"""``psformer convert-weights``: a released checkpoint of other code becomes one of ours."""

import argparse

from ..utils.wording import counted

SUMMARY = "turn a released checkpoint of other code into one of ours"
SOURCES = {
    "official": "Panoptic SegFormer by its authors (zhiqi-li/Panoptic-SegFormer)",
    "maskformer": "MaskFormer and its per-pixel baselines (facebookresearch/MaskFormer)",
    "mask2former": "Mask2Former (facebookresearch/Mask2Former)",
    "hf-maskformer": "MaskFormerForInstanceSegmentation of transformers",
    "hf-mask2former": "Mask2FormerForUniversalSegmentation of transformers",
    "deeplab2": "MaX-DeepLab for COCO, or its ImageNet model (google-research/deeplab2)",
    "eomt": "EoMT (tue-mps/eomt)",
    "hf-eomt": "EomtForUniversalSegmentation of transformers, with DINOv2 or DINOv3",
    "ours": "this package",
}
EPILOG = "\n".join(
    (
        "Sources:",
        *(f"  {name:15} {meaning}" for name, meaning in SOURCES.items()),
        """
Examples:
  psformer convert-weights panoptic_segformer_r50_2x.pth psformer_R50_2x.pth
  psformer convert-weights --config coco/psformer_R50_2x panoptic_segformer_r50_2x.pth model.pth
  psformer convert-weights --source mask2former model_final.pkl mask2former_R50.pth
  psformer convert-weights --source hf-maskformer model.safetensors maskformer_SwinT.pth
  psformer convert-weights --source hf-mask2former model.safetensors.index.json ours.pth
  psformer convert-weights --source deeplab2 ckpt-100000.index max_deeplab_S_641.pth
  psformer convert-weights --source eomt pytorch_model.bin eomt_L_640.pth
  psformer convert-weights --source eomt --base model.safetensors delta.bin eomt_L_dinov3.pth

With --config the result is a model: psformer predict photo.jpg --model model.pth
Files of Detectron2's model zoos (.pkl) are read without running code in them. Checkpoints of
TensorFlow (.index, with .data-00000-of-00001 beside it) are read without TensorFlow.""",
    )
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of the model, to be stored with the weights; so are its classes",
    )
    parser.add_argument(
        "--base",
        metavar="FILE",
        help="DINOv3's weights of transformers, to which the authors' EoMT has differences",
    )
    kinds = ".pth, .bin, .pkl, .safetensors, .index.json, .index"
    parser.add_argument("input", metavar="IN", help=f"a file {kinds}")
    parser.add_argument("output", metavar="OUT.pth", help="file to write, for MODEL.WEIGHTS")


def run(args: argparse.Namespace) -> None:
    import torch

    from ..checkpoint import add_base, check_finite, convert, read_checkpoint
    from ..engine import load_config
    from ..utils.errors import UserError
    from ..utils.files import atomic_write

    model = read_checkpoint(args.input, args.trust)["model"]
    try:
        if args.base:
            model = add_base(model, read_checkpoint(args.base)["model"])
        if args.source != "ours":
            model = convert(model, args.source)
        check_finite(model, "the weights", "use another file, or download it again")
    except UserError as error:
        raise UserError(f"'{args.input}': {error}") from error
    content = {"model": model}
    if args.config:
        cfg = load_config(args.config)
        content |= {"config": cfg.dump(), **_metadata(cfg)}
    with atomic_write(args.output) as file:
        torch.save(content, file)
    total = sum(x.numel() for x in model.values())
    print(f"{args.output}: {counted(len(model), 'tensor')}, {total / 1e6:.1f}M numbers.")


def _metadata(cfg) -> dict:
    """The classes of DATASETS.TRAIN[0], which are the model's, where they are known."""
    from ..data import register_from_config
    from ..data.class_metadata import class_metadata, has_classes

    register_from_config(cfg)
    names = [name for name in cfg.DATASETS.TRAIN[:1] if has_classes(name)]
    return {"metadata": class_metadata(names[0])} if names else {}

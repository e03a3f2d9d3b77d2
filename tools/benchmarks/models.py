"""The contestants of the benchmarks of the whole model, built from one config."""

import argparse
from pathlib import Path

import torch
from torch import nn

import d2_psformer.data
import d2_psformer.modeling  # noqa: F401  both register by being imported
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.modeling import build_model
from d2_psformer.engine import AtomicCheckpointer, class_metadata, load_config

from .confident_weights import make_confident

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "coco" / "psformer_R50_2x.yaml"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def size_of(text: str) -> tuple[int, int]:
    """Height and width from "HxW", for argparse."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdigit() for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not HxW, height and width")
    return int(sides[0]), int(sides[1])


def add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file", default=str(CONFIG), metavar="FILE", help="(default: R50 on COCO)"
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[2], metavar="N")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count what the processor works, not what passes: for one thread on a busy machine",
    )
    parser.add_argument("--no-peer", action="store_true", help="leave out transformers' model")
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory")
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        help="settings that replace those of the config: KEY VALUE KEY VALUE ..., at the very end",
    )


def build_config(options: argparse.Namespace) -> CfgNode:
    return load_config(options.config_file, ["MODEL.DEVICE", options.device, *options.opts])


def build_our_model(cfg: CfgNode, sample: dict) -> nn.Module:
    """With the weights of MODEL.WEIGHTS, or random ones that find something in this sample."""
    torch.manual_seed(0)
    model = build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        metadata = class_metadata(cfg.DATASETS.TRAIN[0])
        AtomicCheckpointer(model, metadata=metadata).load(cfg.MODEL.WEIGHTS)
    else:
        make_confident(model, sample)
    return model


def make_state(optimizer: torch.optim.Optimizer) -> None:
    """AdamW's moments are there before the first step, so that they are no extra memory."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # weight decay alone moves anything
    optimizer.zero_grad(set_to_none=True)

"""Parameters and floating-point operations of a model, part by part, without computing anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..d2.config import CfgNode
from ..d2.modeling import build_model
from ..data import register_from_config
from ..ops import backends
from ..utils.errors import UserError
from .setup import load_config


@dataclass(frozen=True)
class Analysis:
    """
    Attributes:
        model: on the device "meta".
        flops: multiply-adds of every module with all inside it, by name; "" is the whole model.
    """

    model: nn.Module
    flops: dict[str, int]

    def row(self, part: str = "") -> dict[str, int]:
        """Parameters, those that learn, and multiply-adds of a part."""
        parameters = list(self.model.get_submodule(part).parameters())
        return {
            "parameters": sum(p.numel() for p in parameters),
            "trainable": sum(p.numel() for p in parameters if p.requires_grad),
            "flops": self.flops.get(part, 0),
        }

    def parts(self, depth: int) -> list[str]:
        """The whole model and its modules down to a depth that have parameters or operations."""
        names = [name for name, _ in self.model.named_modules() if name.count(".") < depth]
        return [name for name in names if any(self.row(name).values())]


def read_config(path: str, opts: Sequence[str] = ()) -> CfgNode:
    """The config of a file or name, with its data sets registered.

    Raises:
        UserError: it has no data set, which names the model's classes.
    """
    cfg = load_config(path, list(opts))
    register_from_config(cfg)
    if not cfg.DATASETS.TRAIN:
        raise UserError(f"'{path}' has no DATASETS.TRAIN: set it, it names the model's classes.")
    return cfg


def analyze(cfg: CfgNode, size: tuple[int, int]) -> Analysis:
    """Build the model and count its prediction for one image of this height and width."""

    def deformable_attention(value, shapes, sampling, *_, **__) -> int:
        """A sample is four corners times their weights for every channel, times its own weight.

        Like the formulas of flop_counter, this one counts a multiply-add as two.
        """
        return 2 * (4 + 1) * math.prod(sampling[:-1]) * value[-1]

    mapping = {torch.ops.d2_psformer.ms_deform_attn: deformable_attention}
    cfg = cfg.clone()
    cfg.MODEL.DEVICE, cfg.MODEL.AUTOCAST = "meta", "float32"
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with torch.device("meta"):
        model = build_model(cfg).eval()
    # A "meta" tensor has no numbers, so there is nothing to postprocess. The operator is one for
    # every device, also where no kernel is compiled.
    no_results = mock.patch.object(model, "postprocess")
    with no_results, mock.patch.object(backends, "default", lambda device: "auto"), counter:
        model([{"image": torch.zeros(3, *size)}])
    root = type(model).__name__
    # PyTorch counts a multiply-add as two.
    flops = {
        name.removeprefix(root).removeprefix("."): sum(counts.values()) // 2
        for name, counts in counter.flop_counts.items()
    }
    return Analysis(model, with_containers(model, flops))


def with_containers(model: nn.Module, found: dict[str, float]) -> dict[str, float]:
    """Add the figures of modules that are never called, as lists of modules: of their members."""
    for name, module in reversed(list(model.named_modules())):
        if name not in found:
            found[name] = sum(found.get(f"{name}.{key}", 0) for key, _ in module.named_children())
    return found

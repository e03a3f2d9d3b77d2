"""Models to be counted: as big as they are, without memory for them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import d2_psformer.modeling  # noqa: F401  registers models
from d2_psformer.classes import Classes
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.modeling import build_model
from d2_psformer.data import register_from_config
from d2_psformer.engine import load_config

from .counting import Counts, count, is_inside


@dataclass(frozen=True)
class Analysis:
    """
    Attributes:
        model: on the device "meta".
        counts: of inference on one image.
    """

    model: nn.Module
    counts: Counts

    def parameters(self, module: str = "", trainable: bool = False) -> int:
        """Of a module and all inside."""
        return sum(
            p.numel()
            for name, p in self.model.named_parameters()
            if is_inside(name, module) and (p.requires_grad or not trainable)
        )

    def modules(self, depth: int) -> list[str]:
        """Names of the parts down to a depth, in order, of which there is anything to tell."""
        names = [name for name, _ in self.model.named_modules() if name.count(".") < depth]
        return [n for n in names if self.parameters(n) or self.counts.flops_of(n)]


class EveryCandidate:
    """Stands where results are made: it keeps every mask, because none of them has numbers."""

    def wanted(self, masks: Tensor, scores: Tensor) -> slice:
        return slice(None)

    def __call__(self, predictions) -> Tensor:
        return predictions.masks


def read_config(path: str, opts: list[str]) -> CfgNode:
    """The config of a file, with its data sets registered.

    Raises:
        FileNotFoundError, ValueError: one sentence naming the file, key or data set.
    """
    cfg = load_config(path, opts)
    register_from_config(cfg)
    if not cfg.DATASETS.TRAIN:
        raise ValueError(f"'{path}' has no DATASETS.TRAIN: it says which classes the model knows.")
    Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    return cfg


def analyze(cfg: CfgNode, size: tuple[int, int]) -> Analysis:
    """Build the model and count its inference on one image of this height and width.

    What is made of the masks at last, the merging, is left out: a loop over few numbers.
    """
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg).eval()
    results, model.results = model.results, EveryCandidate()
    counts = count(model, [{"image": torch.zeros(3, *size, device="meta")}])
    model.results = results
    return Analysis(model, counts)


def model_key(cfg: CfgNode) -> str:
    """The same for configs whose models compute the same: they differ in data or schedule."""
    layout = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    node = cfg.MODEL.clone()
    node.defrost()
    node.WEIGHTS = node.DEVICE = ""
    backbone = node.BACKBONE
    backbone.PRETRAINED = backbone.WEIGHTS = ""
    backbone.DROP_PATH = node.PSFORMER.TEST.SCORE_THRESHOLD = 0.0
    return f"{node.dump()}{layout.num_things} things, {layout.num_stuff} stuff"

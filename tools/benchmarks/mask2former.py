"""Mask2Former of the ``transformers`` package, with a backbone of equal size and random weights."""

import contextlib
import logging

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from .models import make_state
from .official_shares import BACKBONE, ENCODER
from .stages import StageClock

THINGS, STUFF = 80, 53
# of its queries so many are sure of a class, as of a trained model on an image of COCO
SURE_QUERIES = 20


def build_mask2former(sample: dict | None = None, **settings) -> nn.Module:
    """R50-size, 133 classes, random weights; nothing is downloaded.

    Args:
        sample: an image that its classifier is to be sure on; None leaves it as it is.
        settings: other values of Mask2FormerConfig.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
    """
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        ResNetConfig,
    )

    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    torch.manual_seed(0)
    with _quiet():
        config = Mask2FormerConfig(
            **{"backbone_config": backbone, "num_labels": THINGS + STUFF, **settings}
        )
        model = Mask2FormerForUniversalSegmentation(config)
    if sample is not None:
        _make_confident(model.eval(), sample)
    return model


@torch.no_grad()
def _make_confident(model: nn.Module, sample: dict) -> None:
    """Shift the logit of "nothing" between queries, and spread all logits to make classes sure."""
    logits = model(pixel_values=normalised(sample["image"])).class_queries_logits[0]
    classifier = model.class_predictor
    scale = 10 / logits.std()
    margin = (scale * (logits[:, :-1].amax(1) - logits[:, -1])).sort(descending=True).values
    classifier.weight *= scale
    classifier.bias *= scale
    classifier.bias[-1] += margin[min(SURE_QUERIES, len(margin) - 1)]


def normalised(image: Tensor) -> Tensor:
    return (image.float()[None] - 116) / 58


class Mask2FormerInference:
    """Forward pass and the package's own post-processing of one image at a time."""

    def __init__(self, model: nn.Module, clock: StageClock):
        from transformers import Mask2FormerImageProcessor

        self.model = model.eval()
        self.processor = Mask2FormerImageProcessor()
        levels = model.model.pixel_level_module
        clock.watch(BACKBONE, levels.encoder, "forward")
        clock.watch(ENCODER, levels.decoder, "forward")

    @torch.inference_mode()
    def __call__(self, samples: list[dict]) -> list[dict]:
        device = next(self.model.parameters()).device
        pixels = torch.cat([normalised(x["image"].to(device)) for x in samples])
        return self.processor.post_process_panoptic_segmentation(
            self.model(pixel_values=pixels),
            label_ids_to_fuse=set(range(THINGS, THINGS + STUFF)),
            target_sizes=[(x["height"], x["width"]) for x in samples],
        )


class Mask2FormerStep:
    """A step of training on these images, with the stem, the first stage and all norms frozen.

    Args:
        samples: of :func:`benchmarks.inputs.training_sample`.
    """

    def __init__(self, model: nn.Module, samples: list[dict]):
        self.model = model.train()
        backbone = model.model.pixel_level_module.encoder
        norms = [x for x in backbone.modules() if isinstance(x, nn.BatchNorm2d)]
        for module in (backbone.embedder, backbone.encoder.stages[0], *norms):
            module.eval().requires_grad_(False)
        self.parameters = [x for x in model.parameters() if x.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, fused=True)
        make_state(self.optimizer)
        device = self.parameters[0].device
        self.inputs = {
            "pixel_values": torch.cat([normalised(x["image"].to(device)) for x in samples]),
            "mask_labels": [
                x["instances"].gt_masks.tensor.to(device, torch.float32) for x in samples
            ],
            "class_labels": [x["instances"].gt_classes.to(device) for x in samples],
        }

    def __call__(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(**self.inputs).loss
        loss.backward()
        self.update()
        return loss.item()

    def update(self) -> None:
        clip_grad_norm_(self.parameters, 0.01)
        self.optimizer.step()


@contextlib.contextmanager
def _quiet():
    """It warns that a backbone other than Swin may not fit: ResNet does."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

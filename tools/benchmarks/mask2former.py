"""The peer of the whole-model benchmark: Mask2Former of the ``transformers`` package."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

THINGS, STUFF = 80, 53


def build_mask2former(device: str, **settings) -> nn.Module:
    """A model with an R50 backbone, 133 classes and random weights; nothing is downloaded.

    Args:
        settings: other values of Mask2FormerConfig.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
    """
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

    # It warns that a backbone other than Swin may not fit: ResNet fits.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(0)
    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    defaults = {"backbone_config": backbone, "num_labels": THINGS + STUFF}
    config = Mask2FormerConfig(**{**defaults, **settings})
    return Mask2FormerForUniversalSegmentation(config).to(device)


def inference(model: nn.Module, image: Tensor) -> Callable[[], object]:
    """A forward pass and the package's panoptic post-processing; image: uint8 (3, H, W)."""
    from transformers import Mask2FormerImageProcessor

    processor = Mask2FormerImageProcessor()
    model.eval()

    @torch.inference_mode()
    def call() -> object:
        return processor.post_process_panoptic_segmentation(
            model(pixel_values=_normalised(image, model.device)),
            label_ids_to_fuse=set(range(THINGS, THINGS + STUFF)),
            target_sizes=[tuple(image.shape[1:])],
        )

    return call


def training_step(
    model: nn.Module, image: Tensor, masks: Tensor, classes: Tensor, dtype: torch.dtype
) -> Callable[[], object]:
    """A step of AdamW with clipping; the stem, the first stage and all batch norms are fixed."""
    backbone = model.train().model.pixel_level_module.encoder
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in (backbone.embedder, backbone.encoder.stages[0], *norms):
        module.eval().requires_grad_(False)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, fused=True)
    device = model.device
    inputs = {
        "pixel_values": _normalised(image, device),
        "mask_labels": [masks.to(device, torch.float32)],
        "class_labels": [classes.to(device)],
    }

    def call() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = model(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 0.01)
        optimizer.step()
        return loss.item()

    return call


def _normalised(image: Tensor, device: torch.device) -> Tensor:
    return (image[None].to(device).float() - 116) / 58

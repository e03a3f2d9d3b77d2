"""The peers of the whole-model benchmark: models of ``transformers``."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

THINGS, STUFF = 80, 53
THRESHOLD = 0.8  # of the class probability, as in our configs


def build_peer(cfg, **settings) -> nn.Module:
    """The model that a config of ours is compared with; random weights, nothing is downloaded.

    It has 133 classes. For EoMT's configs on DINOv2 it is EoMT, for MaskFormer's MaskFormer, whose
    pixel decoder here is always a plain FPN, and for all others Mask2Former; the backbone of these
    is Swin-T where the config has it, else R50.

    Args:
        settings: other values of the peer's config.

    Raises:
        ModuleNotFoundError: ``transformers`` is not installed.
    """
    import transformers

    # It warns that a backbone other than Swin may not fit: ResNet fits.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.manual_seed(0)
    if cfg.MODEL.META_ARCHITECTURE == "EoMT":
        return _eomt(cfg, settings).to(cfg.MODEL.DEVICE)
    node = cfg.MODEL.BACKBONE
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    if node.TIMM_NAME.startswith("swin_tiny"):
        backbone = transformers.SwinConfig(drop_path_rate=node.DROP_PATH, **stages)
    else:
        backbone = transformers.ResNetConfig(**stages)
    name, task = "Mask2Former", "UniversalSegmentation"
    if cfg.MODEL.META_ARCHITECTURE == "MaskFormer":
        name, task = "MaskFormer", "InstanceSegmentation"
    values = {"backbone_config": backbone, "num_labels": THINGS + STUFF, **settings}
    config = getattr(transformers, f"{name}Config")(**values)
    model = getattr(transformers, f"{name}For{task}")(config)
    _freeze(model, node)
    return model.to(cfg.MODEL.DEVICE)


def inference(model: nn.Module, image: Tensor) -> Callable[[], object]:
    """A forward pass and the package's panoptic post-processing; image: uint8 (3, H, W)."""
    import transformers

    name = type(model).__name__.rpartition("For")[0]
    processor = getattr(transformers, f"{name}ImageProcessor")()
    stuff = set(range(THINGS, THINGS + STUFF))
    options = {"label_ids_to_fuse": stuff}
    if name == "Eomt":
        size = {"shortest_edge": image.shape[1], "longest_edge": image.shape[2]}
        options = {"stuff_classes": [*stuff], "size": size}
    model.eval()

    @torch.inference_mode()
    def call() -> object:
        return processor.post_process_panoptic_segmentation(
            model(pixel_values=_normalised(image, model.device)),
            threshold=THRESHOLD,
            target_sizes=[tuple(image.shape[1:])],
            **options,
        )

    return call


def training_step(
    model: nn.Module, image: Tensor, masks: Tensor, classes: Tensor, dtype: torch.dtype
) -> Callable[[], object]:
    """A step of AdamW with clipping, like ours."""
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


def _eomt(cfg, settings: dict) -> nn.Module:
    import timm
    import transformers

    with torch.device("meta"):
        plan = timm.create_model(cfg.MODEL.BACKBONE.TIMM_NAME, num_classes=0)
    values = {
        "hidden_size": plan.embed_dim,
        "num_hidden_layers": len(plan.blocks),
        "num_attention_heads": plan.blocks[0].attn.num_heads,
        "num_register_tokens": plan.num_prefix_tokens - 1,
        "image_size": cfg.MODEL.VIT.IMAGE_SIZE,
        "patch_size": cfg.MODEL.VIT.PATCH_SIZE,
        "num_blocks": cfg.MODEL.EOMT.QUERY_BLOCKS,
        "num_queries": cfg.MODEL.TRANSFORMER_DECODER.NUM_QUERIES,
        "num_labels": THINGS + STUFF,
        **settings,
    }
    model = transformers.EomtForUniversalSegmentation(transformers.EomtConfig(**values)).train()
    model.attn_mask_probs.zero_()  # as at the end of training: no masks in inference
    return model


def _freeze(model: nn.Module, node) -> None:
    """Fix what the node MODEL.BACKBONE fixes in ours; the model is in training mode then."""
    backbone = model.train().model.pixel_level_module.encoder
    frozen = []
    if node.FREEZE_AT == 2:
        frozen += [backbone.embedder, backbone.encoder.stages[0]]
    if node.NORM == "FrozenBN":
        frozen += [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    for module in frozen:
        module.eval().requires_grad_(False)


def _normalised(image: Tensor, device: torch.device) -> Tensor:
    return (image[None].to(device).float() - 116) / 58

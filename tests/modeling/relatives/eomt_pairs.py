"""Pairs of EoMTs with the same weights: of transformers, and ours."""

from functools import cache

import pytest
import timm
import torch
from small_models import EOMT, small_model
from torch import nn

from d2_psformer.checkpoint import convert

transformers = pytest.importorskip("transformers")

SIDE, PATCH, DIM, BLOCKS, QUERY_BLOCKS, CLASSES, QUERIES = 96, 16, 64, 5, 3, 5, 12
SHARED = {
    "image_size": SIDE,
    "patch_size": PATCH,
    "hidden_size": DIM,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 2,
    "num_blocks": QUERY_BLOCKS,
    "num_queries": QUERIES,
    "num_labels": CLASSES,
    "train_num_points": 100,
    "attn_implementation": "eager",
}
SMALL_VIT = {"embed_dim": DIM, "depth": BLOCKS, "num_heads": 2}


def make_dinov2() -> nn.Module:
    config = transformers.EomtConfig(**SHARED)
    return transformers.EomtForUniversalSegmentation(config)


def make_dinov3() -> nn.Module:
    config = transformers.EomtDinov3Config(
        **SHARED, intermediate_size=4 * DIM, layer_norm_eps=1e-5, pos_embed_rescale=None
    )
    return transformers.EomtDinov3ForUniversalSegmentation(config)


# transformers' model, and the timm model of another size
CASES = {
    "DINOv2": (make_dinov2, "vit_small_patch14_reg4_dinov2"),
    "DINOv3": (make_dinov3, "vit_small_patch16_dinov3_qkvb"),
}


@torch.no_grad()
def shake(model: nn.Module) -> nn.Module:
    """Random numbers in place of zeros and ones; queries lie far apart."""
    for name, parameter in model.named_parameters():
        scale = 2.0 if "query" in name else 0.05
        parameter.add_(torch.randn_like(parameter) * scale)
    return model


@cache
def build(case: str) -> tuple[nn.Module, nn.Module]:
    """Transformers' model, and ours with its weights."""
    make, name = CASES[case]
    torch.manual_seed(0)
    theirs = shake(make()).eval()
    create = timm.create_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", lambda *a, **k: create(*a, **SMALL_VIT, **k))
        ours = small_model(
            **EOMT
            | {
                "MODEL.BACKBONE.TIMM_NAME": name,
                "MODEL.VIT.IMAGE_SIZE": SIDE,
                "MODEL.VIT.PATCH_SIZE": PATCH,
                "MODEL.EOMT.QUERY_BLOCKS": QUERY_BLOCKS,
                "MODEL.EOMT.MASK_ANNEALING": [[0, 1]] * QUERY_BLOCKS,
                "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": QUERIES,
                "MODEL.LOSS.NUM_POINTS": SHARED["train_num_points"],
                "MODEL.LOSS.CLASS_WEIGHT": 2.0,
                "MODEL.LOSS.MASK_WEIGHT": 5.0,
                "MODEL.LOSS.DICE_WEIGHT": 5.0,
                "MODEL.LOSS.NO_OBJECT_WEIGHT": 0.1,
                "MODEL.LOSS.COUNT_PADDING": True,
            }
        ).eval()
    ours.load_state_dict(convert(theirs.state_dict(), "hf-eomt"))
    return theirs, ours

"""Every config key that this project adds to Detectron2's, declared once with its meaning."""

from ..d2.config import CfgNode as CN
from .architectures import add_max_deeplab_keys, add_psformer_keys
from .data import add_data_keys
from .model import add_backbone_keys, add_decoder_keys, add_loss_keys, add_postprocessing_keys
from .renamed import rename_keys
from .solver import add_solver_keys


def add_psformer_config(cfg: CN) -> None:
    """Add this project's keys and defaults to a Detectron2 config, in place."""
    add_data_keys(cfg)
    add_backbone_keys(cfg.MODEL.BACKBONE)
    add_decoder_keys(cfg.MODEL)
    add_loss_keys(cfg.MODEL)
    add_postprocessing_keys(cfg.MODEL)
    add_psformer_keys(cfg.MODEL)
    add_max_deeplab_keys(cfg.MODEL)
    add_solver_keys(cfg)
    rename_keys(cfg)

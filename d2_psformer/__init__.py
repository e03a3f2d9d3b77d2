"""Panoptic SegFormer, MaskFormer, Mask2Former and MaX-DeepLab as a Detectron2 project."""

__all__ = ["add_psformer_config"]


def add_psformer_config(cfg) -> None:
    """Add this project's keys to a Detectron2 config: see :mod:`d2_psformer.config`.

    The import is late so that commands can show their help before torch is imported.
    """
    from .config import add_psformer_config

    add_psformer_config(cfg)

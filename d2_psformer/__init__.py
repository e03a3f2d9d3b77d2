"""Panoptic SegFormer, MaskFormer, Mask2Former, MaX-DeepLab and EoMT as a Detectron2 project.

::

    model = d2_psformer.load("model.pth")
    model.predict("photo.jpg").draw().show()

All imports are late so that commands can show their help before torch is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import (
        FailedImagesError,
        Instance,
        Model,
        PanopticResult,
        Segment,
        evaluate,
        load,
        push,
        train,
    )

__all__ = [
    "FailedImagesError",
    "Instance",
    "Model",
    "PanopticResult",
    "Segment",
    "add_psformer_config",
    "evaluate",
    "load",
    "push",
    "train",
]


def add_psformer_config(cfg: Any) -> None:
    """Add this project's keys to a Detectron2 config: see :mod:`d2_psformer.config`."""
    from .config import add_psformer_config

    add_psformer_config(cfg)


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(".api", __name__), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

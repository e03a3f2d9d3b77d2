"""Registries of architectures and backbones."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
    )
else:
    from ..d2lite.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
    )

__all__ = [
    "BACKBONE_REGISTRY",
    "META_ARCH_REGISTRY",
    "Backbone",
    "build_backbone",
    "build_model",
]

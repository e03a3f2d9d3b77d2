"""Registries of architectures and backbones."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
    )
else:
    __getattr__ = from_backend("modeling")

"""Names to objects, as configs need them."""

from fvcore.common.registry import Registry

__all__ = ["Registry"]

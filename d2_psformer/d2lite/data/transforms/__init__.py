"""Transforms (deterministic, most of them fvcore's) and the augmentations that choose them."""

from fvcore.transforms.transform import *  # noqa: F403

from .augmentation import *  # noqa: F403
from .augmentation_impl import *  # noqa: F403
from .crops import *  # noqa: F403
from .transform import ResizeTransform  # noqa: F401

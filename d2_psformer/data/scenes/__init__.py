"""Generated panoptic scenes: the embedded data set for demo, tests and benchmarks."""

from .categories import SCENES_CATEGORIES
from .generate import generate_scene
from .writing import ScenesSpec, write_scenes

__all__ = ["SCENES_CATEGORIES", "ScenesSpec", "generate_scene", "write_scenes"]

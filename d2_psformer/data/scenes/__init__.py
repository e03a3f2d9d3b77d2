"""Generated panoptic scenes: the embedded data set for demo, tests and benchmarks."""

from .categories import SCENES_CATEGORIES
from .generate import generate_scene
from .levels import LEVELS, scenes_folder
from .writing import ScenesSpec, write_scenes

__all__ = [
    "LEVELS",
    "SCENES_CATEGORIES",
    "ScenesSpec",
    "generate_scene",
    "scenes_folder",
    "write_scenes",
]

"""Communication, seeds, events, logging, pictures."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.utils import comm
    from ..d2lite.utils.collect_env import collect_env_info
    from ..d2lite.utils.env import seed_all_rng
    from ..d2lite.utils.events import (
        EventStorage,
        EventWriter,
        JSONWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )
    from ..d2lite.utils.logger import setup_logger
    from ..d2lite.utils.video_visualizer import VideoVisualizer
    from ..d2lite.utils.visualizer import Visualizer
else:
    __getattr__ = from_backend(
        "utils.comm",
        "utils.collect_env",
        "utils.env",
        "utils.events",
        "utils.logger",
        "utils.visualizer",
        "utils.video_visualizer",
    )

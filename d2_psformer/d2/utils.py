"""Communication, events, files, logging, pictures."""

from . import BACKEND

if BACKEND == "detectron2":
    from detectron2.utils import comm
    from detectron2.utils.collect_env import collect_env_info
    from detectron2.utils.env import seed_all_rng
    from detectron2.utils.events import (
        CommonMetricPrinter,
        EventStorage,
        EventWriter,
        JSONWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )
    from detectron2.utils.file_io import PathManager
    from detectron2.utils.logger import log_first_n, setup_logger
    from detectron2.utils.registry import Registry
    from detectron2.utils.video_visualizer import VideoVisualizer
    from detectron2.utils.visualizer import ColorMode, Visualizer
else:
    from ..d2lite.utils import comm
    from ..d2lite.utils.collect_env import collect_env_info
    from ..d2lite.utils.env import seed_all_rng
    from ..d2lite.utils.events import (
        CommonMetricPrinter,
        EventStorage,
        EventWriter,
        JSONWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )
    from ..d2lite.utils.file_io import PathManager
    from ..d2lite.utils.logger import log_first_n, setup_logger
    from ..d2lite.utils.registry import Registry
    from ..d2lite.utils.video_visualizer import VideoVisualizer
    from ..d2lite.utils.visualizer import ColorMode, Visualizer

__all__ = [
    "ColorMode",
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "PathManager",
    "Registry",
    "TensorboardXWriter",
    "VideoVisualizer",
    "Visualizer",
    "collect_env_info",
    "comm",
    "get_event_storage",
    "has_event_storage",
    "log_first_n",
    "seed_all_rng",
    "setup_logger",
]

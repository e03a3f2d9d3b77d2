"""Pictures of results and of training; none of it needs a display.

Curves are in :mod:`.curves`, which is not imported here because it alone needs Matplotlib.
"""

from .files import write_picture
from .inputs import Input, find_inputs
from .overlays import VideoOverlays, draw_overlay
from .results import ResultWriter
from .sheets import draw_sheet, thumbnail
from .video import Video, VideoWriter, write_video

__all__ = [
    "Input",
    "ResultWriter",
    "Video",
    "VideoOverlays",
    "VideoWriter",
    "draw_overlay",
    "draw_sheet",
    "find_inputs",
    "thumbnail",
    "write_picture",
    "write_video",
]

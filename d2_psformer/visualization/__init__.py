"""Pictures of results and of training; no display is needed."""

from .attention import SegmentAttention, check_recordable, recording_attention
from .attention_files import check_choice, choose_segments, write_attention
from .attention_maps import draw_attention_maps
from .attention_points import draw_sampling_points
from .inputs import Input, find_inputs
from .overlays import VideoOverlays, draw_overlay
from .results import ResultWriter
from .sheets import draw_sheet, thumbnail
from .side_by_side import draw_side_by_side
from .video import Video, write_video

__all__ = [
    "Input",
    "ResultWriter",
    "SegmentAttention",
    "Video",
    "VideoOverlays",
    "check_choice",
    "check_recordable",
    "choose_segments",
    "draw_attention_maps",
    "draw_overlay",
    "draw_sampling_points",
    "draw_sheet",
    "draw_side_by_side",
    "find_inputs",
    "recording_attention",
    "thumbnail",
    "write_attention",
    "write_video",
]

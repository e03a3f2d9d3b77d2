"""Reading and writing videos with OpenCV."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from ..utils.errors import UserError
from ..utils.files import atomic_path

_USUAL_RATE = 25.0  # frames a second, for files without one


class Video:
    """The frames of a file, as uint8 (H, W, 3) in RGB.

    Attributes:
        rate: frames a second.
        length: number of frames as the file states it, which may be wrong; 0 if it does not.

    Raises:
        UserError: the file cannot be read as a video.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        capture = self._open()
        self.rate = capture.get(cv2.CAP_PROP_FPS) or _USUAL_RATE
        self.length = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        capture = self._open()
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(os.fspath(self.path))
        if not capture.isOpened():
            raise UserError(
                f"Video '{self.path}' cannot be read by OpenCV: convert it to MP4 (H.264)."
            )
        return capture


class VideoWriter:
    """Writes frames to an MP4 file; all must be of the first one's size."""

    def __init__(self, path: Path, rate: float):
        self._path = path
        self._rate = rate
        self._writer: cv2.VideoWriter | None = None

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, uint8 (H, W, 3), RGB.

        Raises:
            UserError: OpenCV cannot write the file.
        """
        height, width = frame.shape[:2]
        # MPEG-4 requires even sides.
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, frame.shape[1::-1])
            if not self._writer.isOpened():
                raise UserError(
                    f"OpenCV cannot write a video to '{self._path.parent}': is the disk full?"
                )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextmanager
def write_video(path: Path, rate: float) -> Iterator[VideoWriter]:
    """Write an MP4 file that takes its name only if the block succeeds and has added a frame."""
    with atomic_path(path) as temporary:
        writer = VideoWriter(temporary, rate)
        try:
            yield writer
        finally:
            writer.close()

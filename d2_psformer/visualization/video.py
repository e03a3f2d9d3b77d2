"""Reading and writing videos with OpenCV."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

_USUAL_RATE = 25.0  # frames a second, for files that do not tell theirs


class Video:
    """The frames of a file, as uint8 (H, W, 3) in RGB.

    Attributes:
        rate: frames a second.
        length: number of frames as the file states it, which may be wrong; 0 if it does not.

    Raises:
        ValueError: the file cannot be read as a video.
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
            raise ValueError(
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
            OSError: OpenCV cannot write the file.
        """
        # MPEG-4 wants even sides.
        height, width = (side - side % 2 for side in frame.shape[:2])
        if self._writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, (width, height))
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write '{self._path}': is the disk full?")
        self._writer.write(np.ascontiguousarray(frame[:height, :width, ::-1]))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextmanager
def write_video(path: Path, rate: float) -> Iterator[VideoWriter]:
    """Write an MP4 file that takes its name only if the block succeeds and has added a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.mp4")
    writer = VideoWriter(temporary, rate)
    try:
        try:
            yield writer
        finally:
            writer.close()
        if temporary.is_file():
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

"""Segmenting images and videos of a user into pictures, segment ids and JSON."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from ..data.images import read_pixels
from ..utils.errors import UserError
from ..utils.files import write_json, write_picture
from ..utils.progress import progress
from ..visualization import (
    Input,
    ResultWriter,
    Video,
    VideoOverlays,
    check_choice,
    check_recordable,
    choose_segments,
    draw_sheet,
    recording_attention,
    thumbnail,
    write_attention,
    write_video,
)
from .ground_truth import GroundTruth
from .predictor import Predictor
from .result_segments import Segments, segments_of_results

logger = logging.getLogger(__name__)
Segment = Callable[[np.ndarray], Segments]
# Pictures on the contact sheet, at most, and the longest side of each in pixels.
SHEET_PICTURES, SHEET_SIDE = 24, 480


def segment_files(
    predictor: Predictor,
    inputs: Sequence[Input],
    folder: Path,
    attention: Sequence[str] | None = None,
    least_score: float | None = None,
    *,
    side_by_side: bool = False,
    truth: GroundTruth | None = None,
) -> dict[Path, Exception]:
    """Write the results of images and videos, a summary and a contact sheet to ``folder``.

    Args:
        attention: draw what the decoders attend to, for segments of these ids or classes (none: the
            surest few); None for no such pictures.
        least_score: see :func:`segments_of_results`.
        side_by_side: draw each image beside its result, and its ground truth if ``truth`` has it.

    Returns:
        The error of each file that failed; it has not ended the work on the others.

    Raises:
        UserError: ``attention`` names no id and no class, or the model has none to draw.
    """
    if attention is not None:
        check_recordable(predictor.model)
        check_choice(attention, predictor.metadata)

    def segment(image: np.ndarray) -> Segments:
        return segments_of_results(predictor(image), predictor.metadata, least_score)

    writer = ResultWriter(folder, predictor.metadata, side_by_side=side_by_side)
    pictures, failures = {}, {}
    for item in progress(inputs, desc="segmenting", unit="file"):
        try:
            if item.is_video:
                _segment_video(segment, item, writer)
                continue
            overlay = _segment_image(predictor, segment, item, writer, attention, truth)
        except Exception as error:  # whatever is wrong with this file, the others are done
            failures[item.path] = _with_name(error, item.path)
            continue
        if len(pictures) < SHEET_PICTURES:
            pictures[item.name] = thumbnail(overlay, SHEET_SIDE)
    writer.write_summary()
    if len(pictures) > 1:
        sheet = draw_sheet([*pictures.values()], [*pictures], columns=4)
        write_picture(folder / "contact_sheet.jpg", sheet)
    return failures


def check_output(folder: Path, inputs: Sequence[Input]) -> None:
    """Keep results out of the folders of the inputs, where a second run would read them.

    Raises:
        UserError: an input lies in ``folder``.
    """
    for item in inputs:
        if item.path.parent.resolve() == folder.resolve():
            raise UserError(f"'{item.path}' lies in the folder of the results: change --output.")


def _with_name(error: Exception, path: Path) -> Exception:
    """The sentence of a UserError names the file."""
    if isinstance(error, UserError) and str(path) not in str(error):
        return UserError(f"'{path}': {error}")
    return error


def _segment_image(
    predictor: Predictor,
    segment: Segment,
    item: Input,
    writer: ResultWriter,
    attention: Sequence[str] | None,
    truth: GroundTruth | None,
) -> np.ndarray:
    """Write the results of one image; returns the overlay."""
    image = read_pixels(item.path, "RGB")
    recording = nullcontext() if attention is None else recording_attention(predictor.model)
    with recording as record:
        ids, segments_info = segment(image)
    if record is not None:
        chosen = choose_segments(segments_info, attention, writer.metadata)
        if not chosen:
            logger.warning("%s has no segment for --attention %s", item.name, " ".join(attention))
        attention_folder = writer.folder / f"{item.name}_attention"
        write_attention(attention_folder, image, ids, chosen, record, writer.metadata)
    annotated = truth.of(item.path, image.shape[:2]) if truth else None
    return writer.write(item.name, str(item.path), image, ids, segments_info, annotated)


def _segment_video(segment: Segment, item: Input, writer: ResultWriter) -> None:
    """Write the results of one video, frame by frame."""
    video = Video(item.path)
    overlays, frames = VideoOverlays(writer.metadata), []
    target = writer.folder / f"{item.name}_overlay.mp4"
    frames_read = progress(video, total=video.length or None, desc=item.name, unit="frame")
    with write_video(target, video.rate) as output:
        for image in frames_read:
            ids, segments_info = segment(image)
            output.add(overlays.draw(image, ids, segments_info))
            frames.append(
                {"frame": len(frames), "segments_info": writer.describe(ids, segments_info)}
            )
    if not frames:
        raise UserError(f"Video '{item.path}' is left out: it has no frame.")
    write_json(
        writer.folder / f"{item.name}_segments.json",
        {"video": str(item.path), "rate": video.rate, "overlay": target.name, "frames": frames},
    )

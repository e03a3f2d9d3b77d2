"""The result of a model for one image."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from ..classes import Classes
from ..data.described_segments import Segment, describe_segments
from ..data.segments import label_segments
from ..engine.result_segments import segments_of_results
from ..utils.wording import counted
from ..visualization import ResultWriter, draw_overlay, draw_side_by_side
from .formats import coco_annotations, detections
from .images import Pixels

if TYPE_CHECKING:
    from supervision import Detections

IdMap: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Instance(Segment):
    """A thing with its mask.

    Attributes:
        mask: bool (H, W).
    """

    mask: Mask


class PanopticResult:
    """Segments of an image; a notebook shows it as a picture.

    A model without panoptic results gives the regions of its classes, or its instances of a score
    of 0.5 or more, small ones on top.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        name: begins the names of saved files.
        source: path of the image or the video, "" for an image in memory.
        panoptic: int32 (H, W), the ``id`` of the segment of every pixel; 0 is void.
        segments: the segments, see :class:`Segment`.
    """

    image: Pixels
    name: str
    source: str
    panoptic: IdMap
    segments: list[Segment]

    def __init__(
        self,
        image: Pixels,
        outputs: Mapping[str, Any],
        metadata: Any,
        *,
        name: str = "image",
        source: str = "",
    ):
        """
        Args:
            image: uint8 (H, W, 3), RGB.
            outputs: what the model returns for the image.
            metadata: of the model's classes.
        """
        self.image = image
        self.name = name
        self.source = source
        self._metadata = metadata
        self._classes = Classes.from_metadata(metadata)
        ids, self._segments_info = segments_of_results(dict(outputs), metadata)
        self.panoptic = ids.astype(np.int32)
        self.segments = describe_segments(self.panoptic, self._segments_info, self._classes)
        self._class_map: IdMap | None = None
        if "sem_seg" in outputs:
            self._class_map = outputs["sem_seg"].argmax(dim=0).cpu().numpy().astype(np.int32)
        self._found = outputs["instances"].to("cpu") if "instances" in outputs else None

    @cached_property
    def semantic(self) -> IdMap:
        """int32 (H, W), the ``class_index`` of every pixel, -1 for void.

        From the model's semantic result where it makes one, else from the segments.
        """
        if self._class_map is not None:
            return self._class_map
        labels = label_segments(self.panoptic, [segment.id for segment in self.segments])
        indices = np.array([-1, *(segment.class_index for segment in self.segments)], np.int32)
        return indices.take(labels)

    @cached_property
    def instances(self) -> list[Instance]:
        """The things with their masks, surest first.

        These are the model's instances where it makes them (MODEL.POSTPROCESSING.INSTANCE_ON): many
        of low scores, which may overlap. Else they are the things among the segments.
        """
        if self._found is None:
            things = [
                Instance(**vars(segment), mask=self.mask(segment))
                for segment in self.segments
                if segment.is_thing
            ]
        else:
            things = [
                self._instance(number, *found)
                for number, found in enumerate(
                    zip(
                        self._found.pred_masks.numpy(),
                        self._found.pred_classes.tolist(),
                        self._found.scores.tolist(),
                        strict=True,
                    ),
                    start=1,
                )
            ]
        return sorted(things, key=lambda thing: -(thing.score or 0))

    def _instance(self, number: int, mask: Mask, index: int, score: float) -> Instance:
        info = {"id": number, "category_id": index, "isthing": True, "score": score}
        (segment,) = describe_segments(mask * np.int32(number), [info], self._classes)
        return Instance(**vars(segment), mask=mask)

    def mask(self, segment: Segment) -> Mask:
        """The pixels of one of ``segments``: bool (H, W)."""
        return np.equal(self.panoptic, segment.id)

    def draw(self, *, side_by_side: bool = False) -> Image.Image:
        """The image with its segments, class names and scores over it; at least 640 pixels long.

        Args:
            side_by_side: put the image itself to the left of that, and a legend below.
        """
        found = self.panoptic, self._segments_info
        if side_by_side:
            return Image.fromarray(draw_side_by_side(self.image, found, self._metadata))
        return Image.fromarray(draw_overlay(self.image, *found, self._metadata))

    def save(self, folder: str | Path) -> None:
        """Write ``NAME_overlay.jpg``, ``NAME_ids.png`` and ``NAME_segments.json`` to a folder.

        A pixel (R, G, B) of the PNG is of the segment R + 256 G + 65536 B, 0 is void.
        """
        writer = ResultWriter(Path(folder), self._metadata)
        writer.write(self.name, self.source, self.image, self.panoptic, self._segments_info)

    def to_coco(self, image_id: int | str = 0) -> list[dict[str, Any]]:
        """The segments as annotations of COCO's JSON, masks as compressed run lengths.

        ``category_id`` is the data set's, and ``bbox`` is x, y, width, height. pycocotools reads
        them; ``isthing`` and ``score`` are added.
        """
        return coco_annotations(self.panoptic, self.segments, image_id)

    def to_supervision(self) -> "Detections":
        """The segments as ``supervision.Detections``; ``class_id`` is the ``class_index``.

        ``data`` has ``class_name``, ``category_id``, ``is_thing``.

        Raises:
            UserError: supervision is not installed.
        """
        return detections(self.panoptic, self.segments)

    def __repr__(self) -> str:
        height, width = self.panoptic.shape
        listed = _counted([segment for segment in self.segments if segment.is_thing])
        listed += _counted([segment for segment in self.segments if not segment.is_thing])
        found = f": {', '.join(listed)}" if listed else ""
        return (
            f"<PanopticResult '{self.name}', {width} x {height} pixels, "
            f"{counted(len(self.segments), 'segment')}{found}>"
        )

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.draw().save(buffer, format="PNG")
        return buffer.getvalue()


def _counted(segments: Sequence[Segment]) -> list[str]:
    """Names of classes, the frequent ones first, with the number of segments above one."""
    counts = Counter(segment.class_name for segment in segments).most_common()
    return [name if count == 1 else f"{count} {name}" for name, count in counts]

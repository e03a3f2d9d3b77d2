"""Ground truth in the terms of the models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...layers import box_xyxy_to_cxcywh
from ...utils.errors import UserError

IGNORE = 255  # in class maps: a pixel without a class


@dataclass(frozen=True)
class Targets:
    """The segments of one image: every thing, and one segment for every class of stuff.

    A segment may be empty.

    Attributes:
        classes: (N,) long, contiguous class ids; in a view, positions in its list of classes.
        boxes: (N, 4) cx, cy, w, h, normalised to the valid image.
        masks: (N, H, W) bool on the padded canvas.
        is_thing: (N,) bool.
        image_size: (height, width) of the valid image, pixels.
        sem_seg: (H, W) long, class of every pixel of the canvas or IGNORE, where it was given.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor
    is_thing: Tensor
    image_size: tuple[int, int]
    sem_seg: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def scale(self) -> Tensor:
        """(N, 4): width, height, width, height of the valid image, pixels."""
        return self.boxes.new_tensor(self.image_size[::-1] * 2).expand_as(self.boxes)

    @property
    def semantic(self) -> Tensor:
        """``sem_seg``, or else the classes of the masks: where they overlap, that of the first."""
        if self.sem_seg is not None:
            return self.sem_seg
        painted = self.classes.new_full(self.masks.shape[-2:], IGNORE)
        for class_id, mask in zip(self.classes.flip(0), self.masks.flip(0), strict=True):
            painted = torch.where(mask, class_id, painted)
        return painted

    def __getitem__(self, rows: Tensor) -> "Targets":
        """The segments of these indices."""
        names = ("classes", "boxes", "masks", "is_thing")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def of_classes(self, ids: Sequence[int]) -> "Targets":
        """The view that a set of queries has: its classes, numbered by their place in ``ids``."""
        ids = torch.as_tensor(ids, dtype=torch.long, device=self.classes.device)
        same = self.classes[:, None] == ids
        kept = same.any(1).nonzero().flatten()
        classes = same[kept].int().argmax(1) if len(kept) else self.classes[:0]
        return replace(self[kept], classes=classes, sem_seg=None)


@dataclass(frozen=True)
class MatchedTargets:
    """The segments of a whole batch that are matched, one after the other.

    Attributes:
        images, queries: (M,) long, where the matched query is.
        classes, boxes, scale: of its segment, as in :class:`Targets`.
        counts: the number of matched segments of every image.
        sample: makes predicted masks of every image (M, h, w) pairs of sampled predictions and
            sampled masks of their segments; None where no term reads masks.
    """

    images: Tensor
    queries: Tensor
    classes: Tensor
    boxes: Tensor
    scale: Tensor
    counts: list[int]
    sample: Callable[[list[Tensor]], list[tuple[Tensor, Tensor]]] | None

    @classmethod
    def of(
        cls,
        targets: list[Targets],
        matches: list[tuple[Tensor, Tensor]],
        prepare: Callable | None = None,
    ) -> "MatchedTargets":
        """
        Args:
            matches: query indices and segment indices of each image.
            prepare: makes ``sample`` from the matched segments of every image.
        """
        chosen = [target[rows] for target, (_, rows) in zip(targets, matches, strict=True)]
        return cls(
            images=torch.cat([torch.full_like(q, i) for i, (q, _) in enumerate(matches)]),
            queries=torch.cat([queries for queries, _ in matches]),
            **{
                name: torch.cat([getattr(target, name) for target in chosen])
                for name in ("classes", "boxes", "scale")
            },
            counts=[len(target) for target in chosen],
            sample=prepare(chosen) if prepare else None,
        )


def prepare_targets(
    instances,
    thing_ids: Sequence[int],
    stuff_ids: Sequence[int],
    canvas: tuple[int, int],
    *,
    image_size: tuple[int, int] | None = None,
    sem_seg: Tensor | None = None,
) -> Targets:
    """Ground truth of one image as :class:`Targets`.

    Things come first, in the order they are given in; then stuff, by rising class id: the segments
    of one class of stuff are joined. Segments with an empty mask are kept.

    Args:
        instances: Detectron2 ``Instances`` of all segments with ``gt_classes`` (contiguous class
            ids), ``gt_boxes`` and ``gt_masks`` (BitMasks).
        thing_ids, stuff_ids: contiguous ids of the classes of either kind.
        canvas: (H, W) of the padded batch.
        image_size: (height, width) of the valid image where a mapper has padded the instances'
            image at the right and the bottom.
        sem_seg: (h, w) long, contiguous class ids, IGNORE where there is none.

    Raises:
        UserError: a class that the model does not have.
    """
    height, width = image_size or instances.image_size
    classes = instances.gt_classes
    masks = _pad(instances.gt_masks.tensor, canvas, False)
    things, stuff = (classes.new_tensor(list(ids)) for ids in (thing_ids, stuff_ids))
    is_thing, is_stuff = torch.isin(classes, things), torch.isin(classes, stuff)
    unknown = ~(is_thing | is_stuff)
    if unknown.any():
        raise UserError(
            f"Class id {int(classes[unknown][0])} is not in the {len(things)} thing and "
            f"{len(stuff)} stuff classes of the model: does DATASETS.TRAIN fit the model?"
        )
    present = classes[is_stuff].unique()
    stuff_masks = masks.new_zeros((len(present), *canvas))
    for row, class_id in enumerate(present):
        stuff_masks[row] = masks[classes == class_id].any(0)
    size = classes.new_tensor([width, height, width, height], dtype=torch.float32)
    thing_boxes = instances.gt_boxes.tensor[is_thing] / size
    stuff_boxes = _corners(stuff_masks) / size
    return Targets(
        classes=torch.cat([classes[is_thing], present]),
        boxes=box_xyxy_to_cxcywh(torch.cat([thing_boxes, stuff_boxes])),
        masks=torch.cat([masks[is_thing], stuff_masks]),
        is_thing=torch.arange(int(is_thing.sum()) + len(present), device=classes.device)
        < is_thing.sum(),
        image_size=(height, width),
        sem_seg=None if sem_seg is None else _pad(sem_seg, canvas, IGNORE),
    )


def _pad(maps: Tensor, canvas: tuple[int, int], value: int) -> Tensor:
    """(..., h, w) -> (..., *canvas), padded at the right and the bottom."""
    height, width = maps.shape[-2:]
    return F.pad(maps, (0, canvas[1] - width, 0, canvas[0] - height), value=value)


def _corners(masks: Tensor) -> Tensor:
    """Boxes (N, 4) x0, y0, x1, y1 around masks (N, H, W); the last two are exclusive.

    The box of an empty mask is zero.
    """
    edges = []
    for cells in (masks.any(1), masks.any(2)):
        first = cells.int().argmax(1)
        last = cells.shape[1] - cells.flip(1).int().argmax(1)
        edges.append((first, last * cells.any(1)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=-1).float()

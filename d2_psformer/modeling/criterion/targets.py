"""Ground truth in the terms of the models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ...layers import box_xyxy_to_cxcywh
from ...utils.errors import UserError


@dataclass(frozen=True)
class Targets:
    """The segments of one image: every thing, and one segment for every class of stuff.

    Attributes:
        classes: (N,) long, contiguous class ids; in a view, positions in its list of classes.
        boxes: (N, 4) cx, cy, w, h, normalised to the valid image.
        masks: (N, H, W) bool on the padded canvas.
        is_thing: (N,) bool.
        image_size: (height, width) of the valid image, pixels.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor
    is_thing: Tensor
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def scale(self) -> Tensor:
        """(N, 4): width, height, width, height of the valid image, pixels."""
        return self.boxes.new_tensor(self.image_size[::-1] * 2).expand_as(self.boxes)

    def of_classes(self, ids: Sequence[int]) -> "Targets":
        """The view that a set of queries has: its classes, numbered by their place in ``ids``."""
        ids = torch.as_tensor(ids, dtype=torch.long, device=self.classes.device)
        same = self.classes[:, None] == ids
        kept = same.any(1).nonzero().flatten()
        return replace(
            self,
            classes=same[kept].int().argmax(1) if len(kept) else self.classes[:0],
            boxes=self.boxes[kept],
            masks=self.masks[kept],
            is_thing=self.is_thing[kept],
        )


@dataclass(frozen=True)
class MatchedTargets:
    """The segments of a whole batch that are matched, one after the other.

    Attributes:
        images, queries: (M,) long, where the matched query is.
        classes, boxes, scale: of its segment, as in :class:`Targets`.
        masks: (M, P) of its segment, sampled; None where no term reads them.
    """

    images: Tensor
    queries: Tensor
    classes: Tensor
    boxes: Tensor
    scale: Tensor
    masks: Tensor | None

    @classmethod
    def of(
        cls,
        targets: list[Targets],
        matches: list[tuple[Tensor, Tensor]],
        sample: Callable[[Tensor], Tensor] | None = None,
    ) -> "MatchedTargets":
        """
        Args:
            matches: query indices and segment indices of each image.
            sample: makes masks (N, H, W) sampled ones (N, P); None to leave them out.
        """
        pairs = list(zip(targets, matches, strict=True))
        masks = None
        if sample is not None:
            masks = torch.cat([sample(target.masks[chosen]) for target, (_, chosen) in pairs])
        return cls(
            images=torch.cat([torch.full_like(q, i) for i, (q, _) in enumerate(matches)]),
            queries=torch.cat([queries for queries, _ in matches]),
            **{
                name: torch.cat([getattr(target, name)[chosen] for target, (_, chosen) in pairs])
                for name in ("classes", "boxes", "scale")
            },
            masks=masks,
        )


def prepare_targets(
    instances, thing_ids: Sequence[int], stuff_ids: Sequence[int], canvas: tuple[int, int]
) -> Targets:
    """Ground truth of one image as :class:`Targets`.

    Args:
        instances: Detectron2 ``Instances`` of all segments with ``gt_classes`` (contiguous class
            ids), ``gt_boxes`` and ``gt_masks`` (BitMasks).
        thing_ids, stuff_ids: contiguous ids of the classes of either kind.
        canvas: (H, W) of the padded batch.

    Raises:
        UserError: a class that the model does not have.
    """
    height, width = instances.image_size
    classes = instances.gt_classes
    masks = F.pad(instances.gt_masks.tensor, (0, canvas[1] - width, 0, canvas[0] - height))
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
    )


def _corners(masks: Tensor) -> Tensor:
    """Boxes (N, 4) x0, y0, x1, y1 around masks (N, H, W); the last two are exclusive."""
    edges = []
    for cells in (masks.any(1), masks.any(2)):
        first = cells.int().argmax(1)
        edges.append((first, cells.shape[1] - cells.flip(1).int().argmax(1)))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=-1).float()

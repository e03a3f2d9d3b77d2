"""Ground truth in the terms of the model."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..class_layout import ClassLayout
from ..layers import box_xyxy_to_cxcywh

# (query indices ascending, target indices) of one image, both long and of one length
Match = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Targets:
    """What one image holds.

    Attributes:
        image_size: (height, width) of the valid image, pixels.
        thing_classes: (N,) long, thing indices.
        thing_boxes: (N, 4) cx, cy, w, h, normalised to the valid image.
        thing_masks: (N, H, W) bool on the padded canvas.
        stuff_classes: (M,) long, stuff indices, each at most once.
        stuff_masks: (M, H, W) bool on the padded canvas.
    """

    image_size: tuple[int, int]
    thing_classes: Tensor
    thing_boxes: Tensor
    thing_masks: Tensor
    stuff_classes: Tensor
    stuff_masks: Tensor


@dataclass(frozen=True)
class BatchedThings:
    """The things of all images of a batch, one after the other.

    Attributes:
        classes: (N,) long.
        boxes: (N, 4) cx, cy, w, h, normalised to the valid image of each.
        scale: (N, 4) width, height, width, height of the image of each, pixels.
        counts: things of every image.
    """

    classes: Tensor
    boxes: Tensor
    scale: Tensor
    counts: list[int]

    @classmethod
    def of(cls, targets: list[Targets]) -> "BatchedThings":
        boxes = torch.cat([t.thing_boxes for t in targets])
        counts = [len(t.thing_classes) for t in targets]
        sizes = boxes.new_tensor([t.image_size[::-1] * 2 for t in targets])
        return cls(
            classes=torch.cat([t.thing_classes for t in targets]),
            boxes=boxes,
            scale=sizes.repeat_interleave(torch.tensor(counts, device=boxes.device), dim=0),
            counts=counts,
        )

    def flatten(self, matches: list[Match]) -> tuple[Tensor, Tensor, Tensor]:
        """Matches of every image -> image, query and thing (an index into this batch) of each."""
        images = [torch.full_like(queries, i) for i, (queries, _) in enumerate(matches)]
        starts = [sum(self.counts[:i]) for i in range(len(matches))]
        things = [things + start for (_, things), start in zip(matches, starts, strict=True)]
        return torch.cat(images), torch.cat([q for q, _ in matches]), torch.cat(things)


def prepare_targets(instances, layout: ClassLayout, canvas: tuple[int, int]) -> Targets:
    """Split the segments of one image into things and stuff.

    Args:
        instances: Detectron2 ``Instances`` of all segments with ``gt_classes`` (contiguous ids of
            the data set), ``gt_boxes`` and ``gt_masks`` (BitMasks).
        layout: which of these classes are things and which are stuff.
        canvas: (H, W) of the padded batch.

    Raises:
        ValueError: a class that the layout does not know.
    """
    height, width = instances.image_size
    classes = instances.gt_classes
    masks = instances.gt_masks.tensor
    known = torch.tensor(layout.thing_ids + layout.stuff_ids, device=classes.device)
    unknown = ~torch.isin(classes, known)
    if unknown.any():
        raise ValueError(
            f"Class id {int(classes[unknown][0])} is not in the {layout.num_things} thing and "
            f"{layout.num_stuff} stuff classes of the model: does DATASETS.TRAIN fit the model?"
        )
    thing = layout.thing_index().to(classes.device)[classes]
    stuff = layout.stuff_index().to(classes.device)[classes]
    masks = F.pad(masks, (0, canvas[1] - width, 0, canvas[0] - height))
    size = classes.new_tensor([width, height, width, height], dtype=torch.float32)
    boxes = box_xyxy_to_cxcywh(instances.gt_boxes.tensor / size)
    present = stuff[stuff >= 0].unique()
    stuff_masks = masks.new_zeros((len(present), *canvas))
    for row, index in enumerate(present):
        stuff_masks[row] = masks[stuff == index].any(0)
    return Targets(
        image_size=(height, width),
        thing_classes=thing[thing >= 0],
        thing_boxes=boxes[thing >= 0],
        thing_masks=masks[thing >= 0],
        stuff_classes=present,
        stuff_masks=stuff_masks,
    )

"""Ground truth in the terms of the model."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..classes import Classes
from ..layers import box_xyxy_to_cxcywh

# (query indices ascending, target indices) of one image, both long and of one length
Match = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Targets:
    """What one image holds.

    Without query decoupling all segments count as things here: :func:`all_as_things`.

    Attributes:
        image_size: (height, width) of the valid image, pixels.
        thing_classes: (N,) long, thing indices.
        thing_boxes: (N, 4) cx, cy, w, h, normalised to the valid image; cx, cy are the centre of
            mass where that is what is learned: :func:`with_centres_of_mass`.
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


def prepare_targets(instances, layout: Classes, canvas: tuple[int, int]) -> Targets:
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


def all_as_things(targets: Targets, num_things: int) -> Targets:
    """Stuff joins the things, to be matched like them; stuff index j gets class num_things + j."""
    return Targets(
        image_size=targets.image_size,
        thing_classes=torch.cat([targets.thing_classes, num_things + targets.stuff_classes]),
        thing_boxes=torch.cat(
            [targets.thing_boxes, _boxes_of(targets.stuff_masks, targets.image_size)]
        ),
        thing_masks=torch.cat([targets.thing_masks, targets.stuff_masks]),
        stuff_classes=targets.stuff_classes[:0],
        stuff_masks=targets.stuff_masks[:0],
    )


def with_centres_of_mass(targets: Targets) -> Targets:
    """Boxes get the centre of mass of the mask for their centre, and keep their size.

    These are f_c and f_s of the location loss in version 1 of the paper.
    """
    rows, columns = targets.thing_masks.sum(2).float(), targets.thing_masks.sum(1).float()
    area = rows.sum(1).clamp(min=1)
    height, width = targets.image_size
    centre_x, centre_y = (
        cells @ (torch.arange(cells.shape[1], device=cells.device) + 0.5) / area / side
        for cells, side in ((columns, width), (rows, height))
    )
    centres = torch.stack([centre_x, centre_y], dim=-1)
    return replace(targets, thing_boxes=torch.cat([centres, targets.thing_boxes[:, 2:]], dim=-1))


def _boxes_of(masks: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) around masks (N, H, W) with at least one pixel: cx, cy, w, h, normalised."""
    height, width = image_size
    edges = []
    for cells, side in ((masks.any(1), width), (masks.any(2), height)):
        first = cells.int().argmax(1)
        end = cells.shape[1] - cells.flip(1).int().argmax(1)
        edges.append(torch.stack([first, end]) / side)
    (left, right), (top, bottom) = edges
    return box_xyxy_to_cxcywh(torch.stack([left, top, right, bottom], dim=-1))

"""Made-up pictures with their segments, as many as are asked for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from d2_psformer.classes import Classes
from d2_psformer.d2.structures import BitMasks, Instances

# a thing's half axes, as shares of the short side: most are small, as in COCO
SMALLEST, LARGEST = 0.03, 0.2


def segment_labels(height: int, width: int, things: int, stuff: int, seed: int = 0) -> Tensor:
    """(H, W) long: ``stuff`` regions 0, 1, ... and ``things`` ellipses in front, each visible.

    Raises:
        ValueError: the picture is too small for so many.
    """
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for _ in range(50):
        centres = torch.rand(stuff, 2, generator=random) * torch.tensor([height, width])
        grid = torch.stack([y, x], dim=-1).float().flatten(0, 1)
        labels = torch.cdist(grid, centres).argmin(1).view(height, width)
        for thing in range(stuff, stuff + things):
            shape = torch.rand(5, generator=random)
            side = min(height, width) * SMALLEST * (LARGEST / SMALLEST) ** shape[2:4]
            dy, dx = y - shape[0] * height, x - shape[1] * width
            turn = shape[4] * torch.pi
            along, across = dx * turn.cos() + dy * turn.sin(), dy * turn.cos() - dx * turn.sin()
            labels[(along / side[0]) ** 2 + (across / side[1]) ** 2 <= 1] = thing
        if (labels.flatten().bincount(minlength=stuff + things) > 0).all():
            return labels
    raise ValueError(f"{things} things and {stuff} stuff regions do not fit into {height}x{width}.")


def painted(labels: Tensor, seed: int = 0) -> Tensor:
    """(H, W) labels -> image uint8 (3, H, W): a colour for each, and texture of many sizes."""
    random = torch.Generator().manual_seed(seed)
    colours = 256 * torch.rand(int(labels.max()) + 1, 3, generator=random)
    image = colours[labels].permute(2, 0, 1)
    for cell in (1, 8, 64):
        coarse = [-(-side // cell) for side in labels.shape]
        noise = torch.randn(1, 3, *coarse, generator=random)
        image = image + 25 * F.interpolate(noise, labels.shape, mode="bilinear")[0]
    return image.clamp(0, 255).to(torch.uint8)


def training_sample(
    height: int, width: int, things: int, stuff: int, layout: Classes, seed: int = 0
) -> dict:
    """What a mapper hands on: ``image``, and ``instances`` of so many segments, random classes."""
    labels = segment_labels(height, width, things, stuff, seed)
    random = torch.Generator().manual_seed(seed)
    instances = Instances((height, width))
    instances.gt_masks = BitMasks(labels == torch.arange(things + stuff)[:, None, None])
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    kinds = torch.randint(layout.num_things, (things,), generator=random)
    regions = torch.randperm(layout.num_stuff, generator=random)[:stuff]
    if len(regions) < stuff:
        raise ValueError(f"The data set has {layout.num_stuff} stuff classes: ask for fewer.")
    classes = [layout.stuff_ids[i] for i in regions] + [layout.thing_ids[i] for i in kinds]
    instances.gt_classes = torch.tensor(classes)
    return {"image": painted(labels, seed), "instances": instances}


def image_sample(size: tuple[int, int], output_size: tuple[int, int], seed: int = 0) -> dict:
    """An image for inference, ``height`` and ``width`` of the wanted result."""
    image = painted(segment_labels(*size, things=20, stuff=10, seed=seed), seed)
    return {"image": image, "height": output_size[0], "width": output_size[1]}

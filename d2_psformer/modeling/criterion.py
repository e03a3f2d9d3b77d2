"""What is matched with what, and how the losses are weighed (paper, section 3.5)."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..classes import Classes
from ..layers import box_cxcywh_to_xyxy, generalized_box_iou
from .losses import FineDiceLoss, pairwise_dice_cost, sigmoid_focal_loss
from .matching import LocationCost, hungarian, hungarian_each
from .targets import BatchedThings, Match, Targets
from .transformer_decoder import Locations


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses; class, L1 and GIoU serve as matching costs too.

    A GIoU weight of 0 means that there is no such loss and no such cost.
    """

    class_: float = 2.0
    stuff_class: float = 4.0
    l1: float = 5.0
    giou: float = 2.0
    dice: float = 2.0
    mask_match_class: float = 4.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    def location_cost(self, class_weight: float) -> LocationCost:
        return LocationCost(class_weight, self.l1, self.giou, self.focal_alpha, self.focal_gamma)


class PanopticCriterion:
    """Bipartite matching for things, fixed matching for stuff, and the losses on both.

    Every loss of things is divided by the things per image, every loss of stuff by the stuff
    classes per image (means over all images of all processes, at least 1), and weighed by the
    share of its kind, so that things and stuff add up to one.
    """

    def __init__(self, weights: LossWeights, has_things: bool = True, has_stuff: bool = True):
        self.weights = weights
        self.has_things, self.has_stuff = has_things, has_stuff

    @classmethod
    def from_config(cls, cfg, layout: Classes) -> "PanopticCriterion":
        node = cfg.MODEL.PSFORMER.LOSS
        weights = LossWeights(
            class_=node.CLASS_WEIGHT,
            stuff_class=node.STUFF_CLASS_WEIGHT,
            l1=node.L1_WEIGHT,
            # a centre of mass and a size are no box
            giou=node.GIOU_WEIGHT if cfg.MODEL.PSFORMER.LOCATION_SUPERVISION == "box" else 0.0,
            dice=node.DICE_WEIGHT,
            mask_match_class=node.MASK_MATCH_CLASS_COST,
            focal_alpha=node.FOCAL_ALPHA,
            focal_gamma=node.FOCAL_GAMMA,
        )
        if not cfg.MODEL.PSFORMER.QUERY_DECOUPLING:
            return cls(weights, has_things=True, has_stuff=False)  # all are matched like things
        return cls(weights, layout.num_things > 0, layout.num_stuff > 0)

    def match(self, locations: Locations, targets: list[Targets]) -> list[list[Match]]:
        """Match things at every layer of the location decoder.

        Returns:
            matches[layer][image].
        """
        things = BatchedThings.of(targets)
        location_cost = self.weights.location_cost(self.weights.class_)
        # (layers, B, Q, things of all images): one transfer
        costs = location_cost(locations.logits, locations.boxes, things).cpu()
        return [
            [
                hungarian(cost[image], locations.boxes.device)
                for image, cost in enumerate(layer_costs.split(things.counts, dim=-1))
            ]
            for layer_costs in costs
        ]

    def rematch_with_masks(
        self, locations: Locations, masks: Tensor, matches: list[Match], targets: list[Targets]
    ) -> list[Match]:
        """Pair the matched queries once more, now with their masks.

        Args:
            masks: (B, N, h, w) of the matched queries of each image, in the order of ``matches``.
            matches: the last layer's match of each image.

        Returns:
            for each image (rows of ``masks[image]``, target indices).
        """
        costs = [
            self._mask_cost(
                locations.logits[-1, image, queries],
                locations.boxes[-1, image, queries],
                masks[image, : len(queries)],
                target,
            )
            for image, (target, (queries, _)) in enumerate(zip(targets, matches, strict=True))
        ]
        return hungarian_each(costs, masks.device)

    def match_with_masks(
        self, logits: Tensor, boxes: Tensor | None, masks: Tensor, targets: list[Targets]
    ) -> list[Match]:
        """Match all queries at once by class, mask and, where there are any, boxes.

        Args:
            logits: (B, Q, classes).
            boxes: (B, Q, 4) or None.
            masks: (B, Q, h, w).

        Returns:
            for each image.
        """
        boxes = [None] * len(targets) if boxes is None else boxes
        costs = [
            self._mask_cost(*image) for image in zip(logits, boxes, masks, targets, strict=True)
        ]
        return hungarian_each(costs, masks.device)

    @torch.no_grad()
    def _mask_cost(
        self, logits: Tensor, boxes: Tensor | None, masks: Tensor, target: Targets
    ) -> Tensor:
        """(Q, N) of one image: class, location and dice."""
        location_cost = self.weights.location_cost(self.weights.mask_match_class)
        cost = location_cost(logits, boxes, BatchedThings.of([target]))
        truth = resize_masks(target.thing_masks, masks.shape[-2:])
        return cost + self.weights.dice * pairwise_dice_cost(masks.float(), truth)

    def location_losses(
        self, locations: Locations, matches: list[list[Match]], targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Class, L1 and GIoU losses of every layer, those that it has; unweighted sums."""
        things = BatchedThings.of(targets)
        losses = {}
        for layer, layer_matches in enumerate(matches):
            images, queries, matched = things.flatten(layer_matches)
            terms = {}
            if locations.logits is not None:
                terms["loss_class"] = self._class_loss(
                    locations.logits[layer], images, queries, things.classes[matched]
                )
            if locations.boxes is not None:
                terms |= self._box_losses(
                    locations.boxes[layer, images, queries],
                    things.boxes[matched],
                    things.scale[matched],
                )
            suffix = layer_suffix(layer, len(matches))
            losses |= {f"{name}{suffix}": term for name, term in terms.items()}
        return losses

    def class_losses(
        self, logits: Tensor, matches: list[Match], targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Class losses after every block, all with one match; logits (blocks, B, Q, classes)."""
        things = BatchedThings.of(targets)
        images, queries, matched = things.flatten(matches)
        return {
            f"loss_class{layer_suffix(block, len(logits))}": self._class_loss(
                block_logits, images, queries, things.classes[matched]
            )
            for block, block_logits in enumerate(logits)
        }

    def _class_loss(
        self, logits: Tensor, images: Tensor, queries: Tensor, classes: Tensor
    ) -> Tensor:
        """Focal loss of logits (B, Q, classes), whose positives are these triples."""
        positive = torch.zeros_like(logits, dtype=torch.bool)
        positive[images, queries, classes] = True
        return self.weights.class_ * self._focal(logits.float(), positive)

    def _box_losses(self, boxes: Tensor, truth: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """L1 and GIoU of matched boxes (N, 4), the latter in pixels, by their (N, 4) scale."""
        boxes = boxes.float()
        losses = {"loss_box": self.weights.l1 * (boxes - truth).abs().sum()}
        if self.weights.giou:
            overlap = generalized_box_iou(
                box_cxcywh_to_xyxy(boxes) * scale, box_cxcywh_to_xyxy(truth) * scale
            )
            losses["loss_giou"] = self.weights.giou * (1 - overlap).sum()
        return losses

    def mask_losses(self, name: str, masks: list[Tensor], truth: list[Tensor]) -> dict[str, Tensor]:
        """Dice of every block's masks and the tail's, at twice their size; sums over the segments.

        Args:
            masks: of each block and the tail, (N, h, w) of the matched queries of all images.
            truth: (N_i, H, W) bool of each image, in the same order.
        """
        size = masks[-1].shape[-2:]
        losses = {}
        with torch.autocast(masks[-1].device.type, enabled=False):
            fine = torch.cat([resize_masks(x, [2 * side for side in size]) for x in truth])
            dice = FineDiceLoss(fine, size)
            for block, predicted in enumerate(masks):
                name_of_block = f"{name}{layer_suffix(block, len(masks))}"
                losses[name_of_block] = self.weights.dice * dice(predicted.float()).sum()
        return losses

    def stuff_class_losses(self, logits: Tensor, targets: list[Targets]) -> dict[str, Tensor]:
        """Presence of every stuff class after every block; logits (blocks, B, classes)."""
        present = torch.zeros_like(logits[0], dtype=torch.bool)
        for image, target in enumerate(targets):
            present[image, target.stuff_classes] = True
        return {
            f"loss_stuff_class{layer_suffix(block, len(logits))}": self.weights.stuff_class
            * self._focal(block_logits.float(), present)
            for block, block_logits in enumerate(logits)
        }

    def balance(self, targets: list[Targets], device: torch.device) -> tuple[Tensor, Tensor]:
        """Factors that turn a sum over this process's images into a weighed loss.

        Returns:
            for things and for stuff: share of the kind / (segments per image * images here).
        """
        images = len(targets)
        counts = torch.tensor(
            [
                sum(len(t.thing_classes) for t in targets) / images,
                sum(len(t.stuff_classes) for t in targets) / images,
            ],
            device=device,
        )
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(counts)
            counts /= dist.get_world_size()
        counts = counts.clamp(min=1)
        kinds = counts * counts.new_tensor([self.has_things, self.has_stuff])
        things, stuff = kinds / kinds.sum() / counts / images
        return things, stuff

    def _focal(self, logits: Tensor, positive: Tensor) -> Tensor:
        w = self.weights
        return sigmoid_focal_loss(logits, positive, w.focal_alpha, w.focal_gamma)


def layer_suffix(layer: int, num_layers: int) -> str:
    """Detectron2's and DETR's way: the last layer has the plain name, others their number."""
    return "" if layer == num_layers - 1 else f"_{layer}"


def resize_masks(masks: Tensor, size) -> Tensor:
    """(N, H, W) of any type -> (N, *size) float32, bilinear: bool masks get soft edges."""
    if not len(masks):  # F.interpolate refuses these
        return masks.new_zeros((0, *size), dtype=torch.float32)
    return F.interpolate(masks.float()[None], tuple(size), mode="bilinear")[0]

"""Training in the plain formulation: loops over images, layers and blocks."""

import torch
import torch.nn.functional as F
from d2_psformer.modeling.losses import pairwise_dice_cost, sigmoid_focal_loss
from d2_psformer.modeling.matching import hungarian
from d2_psformer.modeling.targets import BatchedThings, Match, Targets, prepare_targets
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from d2_psformer.classes import Classes
from d2_psformer.d2.config import CfgNode
from d2_psformer.engine.optimizer import parameter_groups
from d2_psformer.layers import box_cxcywh_to_xyxy, generalized_box_iou
from d2_psformer.modeling.criterion import PanopticCriterion, layer_suffix
from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.modeling.transformer_decoder import Locations

from .plain_model import PlainPanopticSegFormer


class PlainTraining:
    """The losses of our model, by name, of one image after the other; no one image is padded.

    Masks are numbers of full size from the start, and those of absent stuff classes count with
    weight zero.
    """

    def __init__(self, model: PlainPanopticSegFormer):
        self.model = model
        self.layout: Classes = model.weights.class_layout
        self.criterion: PanopticCriterion = model.weights.criterion

    def losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        weights = self.model.weights
        images = weights.normalizer([x["image"] for x in batched_inputs])
        canvas = tuple(images.tensor.shape[-2:])
        memory = self.model.memory(self.model.features(images.tensor), images)
        locations = self.model.locations(memory)
        targets = [
            prepare_targets(x["instances"].to(images.tensor.device), self.layout, canvas)
            for x in batched_inputs
        ]
        thing_factor, stuff_factor = self.criterion.balance(targets, images.tensor.device)
        losses: dict[str, Tensor] = {}
        for image, target in enumerate(targets):
            things = self.thing_losses(image, memory, locations, target)
            stuff = self.stuff_losses(image, memory, target)
            for terms, factor in ((things, thing_factor), (stuff, stuff_factor)):
                for name, term in terms.items():
                    losses[name] = losses.get(name, 0) + term * factor
        return losses

    def thing_losses(
        self, image: int, memory: Memory, locations: Locations, target: Targets
    ) -> dict[str, Tensor]:
        last = len(locations.logits) - 1
        losses = {}
        for layer in range(last + 1):
            queries, things = self.match(locations, layer, image, target)
            losses |= self.location_losses(locations, layer, image, target, (queries, things))
        masks = self.model.thing_masks(
            locations.queries[last, image, queries][None], memory.image(image)
        )
        masks = [block[0] for block in masks]
        rows, things = self.rematch(masks[-1], locations, image, target, queries)
        truth = target.thing_masks[things].float()
        present = torch.ones(len(rows), device=truth.device)
        for block, predicted in enumerate(masks):
            name = f"loss_thing_mask{layer_suffix(block, len(masks))}"
            losses[name] = self.mask_loss(predicted[rows], truth, present)
        return losses

    def stuff_losses(self, image: int, memory: Memory, target: Targets) -> dict[str, Tensor]:
        masks, logits = self.model.stuff_masks(memory.image(image))
        w = self.criterion.weights
        num_classes = logits[0].shape[1]
        present = torch.zeros(num_classes, device=memory.tokens.device)
        present[target.stuff_classes] = 1
        truth = torch.zeros(num_classes, *target.stuff_masks.shape[1:], device=present.device)
        truth[target.stuff_classes] = target.stuff_masks.float()
        losses = {}
        for block, predicted in enumerate(masks):
            name = f"loss_stuff_mask{layer_suffix(block, len(masks))}"
            losses[name] = self.mask_loss(predicted[0], truth, present)
        for block, predicted in enumerate(logits):
            losses[f"loss_stuff_class{layer_suffix(block, len(logits))}"] = (
                w.stuff_class
                * sigmoid_focal_loss(
                    predicted[0].float(), present.bool(), w.focal_alpha, w.focal_gamma
                )
            )
        return losses

    def match(self, locations: Locations, layer: int, image: int, target: Targets) -> Match:
        cost = self.criterion.weights.location_cost(self.criterion.weights.class_)
        things = BatchedThings.of([target])
        costs = cost(locations.logits[layer, image], locations.boxes[layer, image], things)
        return hungarian(costs, costs.device)

    @torch.no_grad()
    def rematch(
        self, masks: Tensor, locations: Locations, image: int, target: Targets, queries: Tensor
    ) -> Match:
        w = self.criterion.weights
        costs = w.location_cost(w.mask_match_class)(
            locations.logits[-1, image, queries],
            locations.boxes[-1, image, queries],
            BatchedThings.of([target]),
        )
        truth = F.interpolate(target.thing_masks[None].float(), masks.shape[1:], mode="bilinear")
        costs = costs + w.dice * pairwise_dice_cost(masks.float(), truth[0])
        return hungarian(costs, costs.device)

    def location_losses(
        self, locations: Locations, layer: int, image: int, target: Targets, match: Match
    ) -> dict[str, Tensor]:
        w = self.criterion.weights
        queries, things = match
        logits = locations.logits[layer, image].float()
        boxes, truth = locations.boxes[layer, image, queries].float(), target.thing_boxes[things]
        positive = torch.zeros_like(logits, dtype=torch.bool)
        positive[queries, target.thing_classes[things]] = True
        scale = boxes.new_tensor(target.image_size[::-1] * 2)
        overlap = generalized_box_iou(
            box_cxcywh_to_xyxy(boxes) * scale, box_cxcywh_to_xyxy(truth) * scale
        )
        suffix = layer_suffix(layer, len(locations.logits))
        focal = sigmoid_focal_loss(logits, positive, w.focal_alpha, w.focal_gamma)
        return {
            f"loss_class{suffix}": w.class_ * focal,
            f"loss_box{suffix}": w.l1 * (boxes - truth).abs().sum(),
            f"loss_giou{suffix}": w.giou * (1 - overlap).sum(),
        }

    def mask_loss(self, masks: Tensor, truth: Tensor, present: Tensor) -> Tensor:
        """Dice of (N, h, w) with (N, H, W), at twice the size of the first, weighed by (N,)."""
        fine = F.interpolate(masks.float()[None], scale_factor=2.0, mode="bilinear")[0].flatten(1)
        truth = F.interpolate(truth[None], [2 * side for side in masks.shape[1:]], mode="bilinear")
        truth = truth[0].flatten(1)
        norm = (fine * fine).sum(1) + (truth * truth).sum(1) + 2e-6
        dice = 1 - 2 * (fine * truth).sum(1) / norm
        return self.criterion.weights.dice * (dice * present).sum()


class PlainStep:
    """Forward, backward, clipping and AdamW, a parameter at a time."""

    def __init__(self, training: PlainTraining, cfg: CfgNode):
        self.training = training
        self.max_norm = cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE
        groups = parameter_groups(
            training.model.weights, cfg.SOLVER.BASE_LR, cfg.SOLVER.LR_MULTIPLIERS
        )
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(
            groups, weight_decay=cfg.SOLVER.WEIGHT_DECAY, foreach=False, fused=False
        )

    def __call__(self, batch: list[dict]) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.training.losses(batch)
        self.backward(sum(losses.values()))
        self.update()
        return {name: loss.item() for name, loss in losses.items()}

    def backward(self, total: Tensor) -> None:
        total.backward()

    def update(self) -> None:
        clip_grad_norm_(self.parameters, self.max_norm, foreach=False)
        self.optimizer.step()

"""The cases of loss_cases.npz of MaX-DeepLab's reference in our terms."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from d2_psformer.modeling.criterion import (
    IGNORE,
    InstanceDiscrimination,
    MaskId,
    MaXDeepLabCriterion,
    PQStyle,
    SemanticEntropy,
    Targets,
)
from d2_psformer.modeling.outputs import SOFTMAX, QueryOutputs, SegmenterOutputs

# Our name of every loss -> the reference's.
LOSSES = {
    "loss_pq_class": "pq_style_loss_class_term",
    "loss_pq_mask": "pq_style_loss_mask_dice_term",
    "loss_mask_id": "mask_id_cross_entropy_loss",
    "loss_instance": "instance_discrimination_loss",
    "loss_semantic": "semantic_loss",
}


def read_cases(folder: Path) -> list["LossCase"]:
    arrays: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / "loss_cases.npz") as archive:
        for key in archive.files:
            name, _, rest = key.partition("/")
            arrays.setdefault(name, {})[rest] = archive[key]
    return [LossCase(*case) for case in arrays.items()]


class LossCase:
    """One case: our inputs, and the reference's outputs.

    Our class ids are places in the reference's class head: things, then stuff. Rows of targets are
    the reference's rows, those of no segment are empty.
    """

    def __init__(self, name: str, arrays: dict[str, np.ndarray]):
        self.name = name
        self.arrays = arrays
        self.config = json.loads(str(arrays["config"]))
        things, ignore = self.config["thing_class_ids"], self.config["ignore_label"]
        channels = range(self.config["num_classes"])
        self.stuff = [i for i in channels if i not in things and i != ignore]
        self.order = things + self.stuff
        # Void, where it has a channel, is the last one of ours.
        self.channels = self.order + [i for i in channels if i == ignore]

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def gradient(self, name: str) -> Tensor:
        """The exact one, which is TensorFlow's where there is one alone."""
        exact = f"grad_exact/{name}"
        return self.tensor(exact if exact in self.arrays else f"grad/{name}")

    @property
    def images(self) -> range:
        return range(len(self.arrays["gt_semantic"]))

    @property
    def stride(self) -> int:
        return self.config["stride"]

    @property
    def has_left_over_segments(self) -> bool:
        """Are there more segments than slots?"""
        segments = (self.arrays["match/gt_class"] >= 0).sum(1)
        return segments.max() > self.config["num_slots"]

    @cached_property
    def criterion(self) -> MaXDeepLabCriterion:
        weights, hardest = self.config["weights"], self.config["top_k_percent"]
        return MaXDeepLabCriterion(
            [
                PQStyle(weights["pq_style"], self.config["focal_alpha"]),
                MaskId(weights["mask_id_cross_entropy"], hardest),
                InstanceDiscrimination(
                    weights["instance_discrimination"], hardest, self.config["temperature"]
                ),
                # All things of these cases are small.
                SemanticEntropy(
                    weights["semantic"], hardest, float(self.arrays["semantic_weight"].max())
                ),
            ],
            self.stride,
        )

    @cached_property
    def predicted(self) -> dict[str, Tensor]:
        """The reference's inputs by its names, (B, h, w, C) and (B, Q, C), leaves of the graph."""
        names = "feature", "mask_logits", "class_logits", "semantic_logits"
        return {name: self.tensor(f"pred_{name}").clone().requires_grad_() for name in names}

    def outputs(self, images: slice = slice(None)) -> SegmenterOutputs:
        feature, masks, logits, semantic = (x[images] for x in self.predicted.values())
        return SegmenterOutputs(
            {"queries": QueryOutputs([logits], [masks.permute(0, 3, 1, 2)], mask_kind=SOFTMAX)},
            [semantic[..., self.channels].permute(0, 3, 1, 2)],
            feature.permute(0, 3, 1, 2),
        )

    @cached_property
    def targets(self) -> list[Targets]:
        return [self._targets(image) for image in self.images]

    def _targets(self, image: int) -> Targets:
        semantic = self.tensor("gt_semantic")[image].long()
        thing_ids = self.tensor("gt_thing_id_mask")[image]
        classes = self.tensor("gt_thing_id_class")[image].tolist()
        masks = [thing_ids == i for i in range(len(classes))] + [semantic == i for i in self.stuff]
        ours = torch.full_like(semantic, IGNORE)
        for place, class_id in enumerate(self.order):
            ours[semantic == class_id] = place
        places = [self.order.index(i) if i in self.order else 0 for i in classes + self.stuff]
        return Targets(
            classes=torch.tensor(places),
            boxes=torch.zeros(len(places), 4),
            masks=torch.stack(masks),
            is_thing=torch.arange(len(places)) < len(classes),
            image_size=tuple(semantic.shape),
            sem_seg=ours,
        )

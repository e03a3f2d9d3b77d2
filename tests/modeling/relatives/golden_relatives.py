"""The reference's weights and inputs for MaskFormer, its baselines and Mask2Former."""

import copy
import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import torch

from d2_psformer.checkpoint.relatives import convert_mask2former, convert_maskformer
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.structures import BitMasks, Boxes, Instances
from d2_psformer.engine import load_config

# Name of a case: our config, the file with the shapes of the official model, targets.
CASES = {
    "maskformer_r50_panoptic": ("coco/maskformer_R50", "maskformer_coco_r50", "panoptic"),
    "maskformer_swint_semantic": (
        "ade20k/maskformer_semantic_SwinT",
        "maskformer_ade_swint",
        "semantic",
    ),
    "mask2former_r50_panoptic": ("coco/mask2former_R50", "mask2former_coco_r50", "panoptic"),
    "mask2former_swint_panoptic": ("coco/mask2former_SwinT", "mask2former_coco_swint", "panoptic"),
    "mask2former_r50_instance": (
        "coco/mask2former_instance_R50",
        "mask2former_coco_instance_r50",
        "instance",
    ),
    "perpixel_r50": ("ade20k/per_pixel_baseline_R50", "perpixel_ade_r50", "semantic"),
    "perpixelplus_r50": ("ade20k/per_pixel_baseline_plus_R50", "perpixelplus_ade_r50", "semantic"),
}
# The official code is run without padding to a multiple for these.
UNPADDED = {"MODEL.SIZE_DIVISIBILITY": 0}


class GoldenRelatives:
    """The folder of the reference: its rules, arrays, images and targets."""

    def __init__(self, folder: Path):
        self.folder = folder
        spec = importlib.util.spec_from_file_location("relative_weights", folder / "weights.py")
        self.rules = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.rules)
        self.inputs = self.arrays("inputs")
        tag = str(self.arrays("mask2former_r50_panoptic_loss_single")["rand/tag"])
        self.variant = tag.partition(":")[0]

    @functools.cache  # noqa: B019  (one object a session)
    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as archive:
            return {key: archive[key] for key in archive.files}

    def json(self, name: str):
        return json.loads((self.folder / f"{name}.json").read_text())

    @functools.cache  # noqa: B019
    def model(self, case: str, **options):
        """A model in evaluation mode with the reference's weights; ``__`` stands for a dot."""
        config, shapes, _ = CASES[case]
        options = {"MODEL.DEVICE": "cpu", "MODEL.LOSS.COUNT_PADDING": True} | {
            key.replace("__", "."): value for key, value in options.items()
        }
        if case.startswith("perpixel"):
            options |= UNPADDED
        cfg = load_config(config, [x for pair in options.items() for x in pair])
        convert = convert_mask2former if case.startswith("mask2former") else convert_maskformer
        weights = {
            name: self.rules.tensor_for(name, shape, self.variant)
            for name, shape in self.json(f"shapes/{shapes}").items()
            if not name.endswith("relative_position_index")
        }
        model = build_model(cfg)
        model.load_state_dict(convert(weights))
        return model.eval()

    @functools.cache  # noqa: B019
    def double_model(self, case: str):
        """A copy of the model in float64."""
        return copy.deepcopy(self.model(case)).double()

    def official_names(self, case: str) -> dict[str, str]:
        """Our name of every parameter -> the official one."""
        _, shapes, _ = CASES[case]
        convert = convert_mask2former if case.startswith("mask2former") else convert_maskformer
        shapes = self.json(f"shapes/{shapes}")
        numbered = {n: torch.full(tuple(s), float(i)) for i, (n, s) in enumerate(shapes.items())}
        official = list(shapes)
        return {
            ours: official[int(value.flatten()[0])] for ours, value in convert(numbered).items()
        }

    def images(self, count: int = 2) -> list[torch.Tensor]:
        return [torch.from_numpy(self.inputs[f"img{i}/image"]) for i in range(count)]

    def sample(self, image: int, kind: str) -> dict:
        """One image with its targets: "panoptic", "semantic", "instance", or "empty"."""
        data = {k.partition("/")[2]: v for k, v in self.inputs.items() if k[:4] == f"img{image}"}
        shape = data["masks_shape"]
        bits = np.unpackbits(data["masks_packed"])[: np.prod(shape)].reshape(shape)
        masks, labels = torch.from_numpy(bits).bool(), torch.from_numpy(data["labels"])
        sem_seg = torch.from_numpy(data["sem_seg"]).long()
        if kind == "semantic":
            labels = sem_seg.unique()
            labels = labels[labels != 255]
            masks = sem_seg == labels[:, None, None]
        elif kind == "instance":
            kept = masks.flatten(1).any(1) & (labels < 80)
            masks, labels = masks[kept], labels[kept]
        elif kind == "empty":
            masks, labels = masks[:0], labels[:0]
        instances = Instances(tuple(masks.shape[-2:]))
        instances.gt_classes = labels
        instances.gt_masks = BitMasks(masks)
        instances.gt_boxes = Boxes(torch.zeros(len(labels), 4))
        height, width = data["out_size"].tolist()
        sample = {"image": torch.from_numpy(data["image"]), "instances": instances}
        return sample | {"height": height, "width": width, "sem_seg": sem_seg}


def assert_near(ours: torch.Tensor, golden: np.ndarray, tolerance: float = 1e-4) -> None:
    """The largest difference is at most this part of the largest value."""
    golden = torch.from_numpy(golden)
    assert ours.shape == golden.shape
    assert (ours - golden).abs().max() <= tolerance * golden.abs().max()

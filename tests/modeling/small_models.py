"""Small models, images and ground truth by fixed rules: the same numbers on every machine."""

import zlib

import numpy as np
import torch

import d2_psformer.modeling  # noqa: F401  (registers the architecture and the backbones)
from d2_psformer import add_psformer_config
from d2_psformer.d2.config import CfgNode, get_cfg
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.structures import BitMasks, Instances

SMALL = {
    "MODEL.META_ARCHITECTURE": "PanopticSegFormer",
    "MODEL.DEVICE": "cpu",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.BACKBONE.NAME": "TimmBackbone",
    "MODEL.BACKBONE.TIMM_NAME": "resnet10t",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.PIXEL_DECODER.DIM": 48,
    "MODEL.PIXEL_DECODER.HEADS": 4,
    "MODEL.TRANSFORMER_DECODER.HEADS": 4,
    "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD": 64,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": 64,
    "MODEL.PIXEL_DECODER.DROPOUT": 0.0,
    "MODEL.TRANSFORMER_DECODER.DROPOUT": 0.0,
    "MODEL.PIXEL_DECODER.LAYERS": 1,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 2,
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": 12,
    "MODEL.PSFORMER.THING_MASK_LAYERS": 2,
    "MODEL.PSFORMER.STUFF_MASK_LAYERS": 2,
}
JOINT = {"MODEL.PSFORMER.QUERY_DECOUPLING": False}
VERSION_1 = {"MODEL.META_ARCHITECTURE": "PanopticSegFormerV1"}
MASKFORMER = {
    "MODEL.META_ARCHITECTURE": "MaskFormer",
    "MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.PIXEL_DECODER.MASK_DIM": 40,
    "MODEL.POSTPROCESSING.MERGING": "maskformer",
    # weights by rule give overlapping masks
    "MODEL.POSTPROCESSING.THING_OVERLAP_THRESHOLD": 0.99,
    "MODEL.POSTPROCESSING.STUFF_OVERLAP_THRESHOLD": 0.99,
}
MASK2FORMER = MASKFORMER | {
    "MODEL.META_ARCHITECTURE": "Mask2Former",
    "MODEL.PIXEL_DECODER.NUM_LEVELS": 3,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 4,
    "MODEL.LOSS.NUM_POINTS": 300,
    "MODEL.POSTPROCESSING.MERGING": "mask2former",
}
PER_PIXEL = MASKFORMER | {
    "MODEL.META_ARCHITECTURE": "PerPixelBaseline",
    "MODEL.POSTPROCESSING.PANOPTIC_ON": False,
    "MODEL.POSTPROCESSING.SEMANTIC_ON": True,
}
MAX_DEEPLAB = {
    "MODEL.META_ARCHITECTURE": "MaXDeepLab",
    "MODEL.BACKBONE.NAME": "MaXDeepLabBackbone",
    "MODEL.PIXEL_MEAN": [127.5, 127.5, 127.5],
    "MODEL.PIXEL_STD": [127.5, 127.5, 127.5],
    "MODEL.MAX_DEEPLAB.WIDTH": 0.0625,
    "MODEL.MAX_DEEPLAB.STEM_WIDTH": 0.125,
    "MODEL.MAX_DEEPLAB.TRANSFORMER_WIDTH": 16,
    "MODEL.MAX_DEEPLAB.MEMORY_DIM": 24,
    "MODEL.MAX_DEEPLAB.FEATURE_DIM": 20,
    "MODEL.PIXEL_DECODER.MASK_DIM": 12,
    "MODEL.POSTPROCESSING.MERGING": "max_deeplab",
    # weights by rule give masks that share every pixel
    "MODEL.POSTPROCESSING.MASK_THRESHOLD": 0.0,
    "MODEL.POSTPROCESSING.THING_AREA_LIMIT": 0,
    "MODEL.POSTPROCESSING.STUFF_AREA_LIMIT": 0,
}
MAX_DEEPLAB_L = MAX_DEEPLAB | {
    "MODEL.MAX_DEEPLAB.VARIANT": "L",
    "MODEL.MAX_DEEPLAB.DECODER_STACKS": 2,
    "MODEL.MAX_DEEPLAB.TRANSFORMER_STAGES": [4, 5],
}
LAST_MASKS = {"MODEL.LOSS.DEEP_SUPERVISION": False}
EOMT = MASKFORMER | {
    "MODEL.META_ARCHITECTURE": "EoMT",
    "MODEL.BACKBONE.NAME": "PlainViT",
    "MODEL.BACKBONE.TIMM_NAME": "test_vit",
    "MODEL.VIT.IMAGE_SIZE": 64,
    "MODEL.EOMT.QUERY_BLOCKS": 2,
    "MODEL.EOMT.MASK_ANNEALING": [[2, 4], [4, 6]],
    "MODEL.LOSS.NUM_POINTS": 300,
    "MODEL.POSTPROCESSING.MERGING": "mask2former",
}
# Every architecture, and what changes the parts that it is made of.
VARIANTS = {
    "decoupled": {},
    "joint": JOINT,
    "version 1": VERSION_1,
    "last masks alone": LAST_MASKS,
    "version 1, last masks alone": VERSION_1 | LAST_MASKS,
    "no mask blocks": {"MODEL.PSFORMER.THING_MASK_LAYERS": 0},
    "no encoder": {"MODEL.PIXEL_DECODER.LAYERS": 0},
    "maskformer": MASKFORMER,
    "maskformer, plain FPN": MASKFORMER | {"MODEL.PIXEL_DECODER.LAYERS": 0},
    "maskformer, last layer alone": MASKFORMER | LAST_MASKS,
    "mask2former": MASK2FORMER,
    "max-deeplab": MAX_DEEPLAB,
    "max-deeplab, L": MAX_DEEPLAB_L,
    "eomt": EOMT,
    "eomt, rotary positions": EOMT
    | {"MODEL.BACKBONE.TIMM_NAME": "vit_small_patch16_dinov3_qkvb", "MODEL.EOMT.QUERY_BLOCKS": 2},
    "per pixel": PER_PIXEL,
    "per pixel plus": PER_PIXEL | {"MODEL.META_ARCHITECTURE": "PerPixelBaselinePlus"},
}
# What changes inference alone.
INFERENCE = {
    "pixel argmax": {"MODEL.POSTPROCESSING.MERGING": "pixel_argmax"},
    "maskformer merging": {"MODEL.POSTPROCESSING.MERGING": "maskformer"},
    "early exit": {"MODEL.PSFORMER.EXIT_AFTER": 1},
    "version 1, early exit": VERSION_1 | {"MODEL.PSFORMER.EXIT_AFTER": 2},
    "joint, maskformer merging": JOINT | {"MODEL.POSTPROCESSING.MERGING": "maskformer"},
}
EVERY_RESULT = {
    "MODEL.POSTPROCESSING.SEMANTIC_ON": True,
    "MODEL.POSTPROCESSING.INSTANCE_ON": True,
    # almost any mask becomes a segment, so that weights by rule give many
    "MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.01,
}
# One variant of each.
EVERY_ARCHITECTURE = (
    "decoupled",
    "version 1",
    "maskformer",
    "mask2former",
    "max-deeplab",
    "eomt",
    "per pixel",
    "per pixel plus",
)
SEMANTIC_ALONE = ("per pixel", "per pixel plus")
# A backbone of 0.5 million parameters whose norms do not depend on the batch.
TINY_BACKBONE = {"MODEL.BACKBONE.TIMM_NAME": "test_resnet", "MODEL.BACKBONE.NORM": "FrozenBN"}


def register_classes(thing_ids: list[int], stuff_ids: list[int]) -> str:
    """Put a data set of these contiguous ids (data-set id = 10 + contiguous id) into the catalog.

    Returns:
        its name.
    """
    name = f"classes_{'_'.join(map(str, thing_ids))}_and_{'_'.join(map(str, stuff_ids))}"
    MetadataCatalog.get(name).set(
        thing_dataset_id_to_contiguous_id={10 + i: i for i in thing_ids},
        stuff_dataset_id_to_contiguous_id={10 + i: i for i in stuff_ids},
    )
    return name


def small_config(thing_ids=(0, 1, 2), stuff_ids=(3, 4), **overrides) -> CfgNode:
    """overrides: full keys with dots, as a dict to be unpacked."""
    cfg = get_cfg()
    add_psformer_config(cfg)
    for key, value in (SMALL | overrides).items():
        cfg.merge_from_list([key, value])
    cfg.DATASETS.TRAIN = (register_classes(list(thing_ids), list(stuff_ids)),)
    return cfg


def small_model(thing_ids=(0, 1, 2), stuff_ids=(3, 4), **overrides) -> torch.nn.Module:
    return build_model(small_config(thing_ids, stuff_ids, **overrides))


def image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """uint8 (3, H, W): stripes, a ramp and a disc, in integers."""
    y, x = np.mgrid[:height, :width]
    stripes = (x * (3 + seed) + y * 2) % 256
    ramp = (255 * y) // max(height - 1, 1)
    disc = 255 * ((x - width // 3) ** 2 + (y - height // 2) ** 2 < (height // 4) ** 2)
    return torch.from_numpy(np.stack([stripes, ramp, disc]).astype(np.uint8))


def segments(height: int, width: int, classes: list[int]) -> Instances:
    """One mask for each class, slanted bands that part the image; boxes from the masks."""
    y, x = np.mgrid[:height, :width]
    band = ((2 * x + y) * len(classes)) // (2 * width + height)
    masks = torch.from_numpy(band) == torch.arange(len(classes))[:, None, None]
    instances = Instances((height, width))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    return instances


def sample(height: int, width: int, classes: list[int], seed: int = 0) -> dict:
    """What a mapper gives in training."""
    return {
        "image": image(height, width, seed),
        "instances": segments(height, width, classes),
        "height": height,
        "width": width,
    }


def tensor_for(name: str, shape: torch.Size) -> torch.Tensor:
    """A weight that follows from its name and shape; signals neither die nor blow up."""
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if name.endswith(("query_embed.weight", "level_embed")):
        values = noise
    elif name == "annealing.probabilities":
        values = 0 * noise  # attention without masks: nothing is random
    elif name.endswith("running_var"):
        values = 1 + 0.2 * np.abs(noise)
    elif name.endswith("mask_fc.weight"):
        values = 0.1 * noise
    elif "class_embed" in name and name.endswith("bias"):
        values = 0.5 * noise
    elif name.endswith("sampling_offsets.bias"):
        values = 1.5 * noise
    elif noise.ndim > 1:
        values = noise / np.sqrt(noise[0].size)
    elif name.endswith(".weight"):
        values = 1 + 0.1 * noise
    else:
        values = 0.1 * noise
    return torch.from_numpy(values.astype(np.float32))


@torch.no_grad()
def fill_by_rule(model: torch.nn.Module) -> torch.nn.Module:
    """Replace every weight and statistic by :func:`tensor_for`, in place."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(tensor_for(name, tensor.shape))
    return model


@torch.no_grad()
def tiny_model(*classes, filled: bool = True, **overrides) -> torch.nn.Module:
    """On the tiny backbone; filled: with weights by rule that give masks and classes.

    Args:
        classes: ids of things and of stuff.
    """
    model = small_model(*classes, **TINY_BACKBONE | overrides)
    if filled:
        fill_by_rule(model)
        for name, parameter in model.named_parameters():
            if name.endswith("mask_fc.bias"):
                parameter.add_(0.5)
            if name.endswith("mask_heads.class_embed.bias"):
                parameter[-1] -= 3  # "no object" is rare
    return model


@torch.no_grad()
def infer(model: torch.nn.Module, *inputs: dict) -> list[dict]:
    """Results, in evaluation mode, which the model stays in."""
    return model.eval()(list(inputs))


def every_result(name: str) -> dict:
    """A variant that makes all the results that it can."""
    options = (VARIANTS | INFERENCE)[name]
    return options if name in SEMANTIC_ALONE else options | EVERY_RESULT


def check_results(output: dict, size: tuple[int, int], thing_ids=(0, 1, 2), classes=5) -> None:
    """Detectron2's contracts of all three kinds of result, at ``size``."""
    semantic = output["sem_seg"]
    assert semantic.shape == (classes, *size) and semantic.dtype == torch.float32
    if set(output) == {"sem_seg"}:
        return
    assert (semantic >= 0).all()
    id_map, segments_info = output["panoptic_seg"]
    assert id_map.shape == size and id_map.dtype == torch.int32
    assert [s["id"] for s in segments_info] == list(range(1, len(segments_info) + 1))
    assert {s["id"] for s in segments_info} == set(id_map.unique().tolist()) - {0}
    for segment in segments_info:
        assert type(segment["isthing"]) is bool
        assert segment["isthing"] == (segment["category_id"] in thing_ids)
        assert segment["area"] == (id_map == segment["id"]).sum() > 0
        assert 0 < segment["score"] <= 1
        assert 0 <= segment["category_id"] < classes
    stuff = [s["category_id"] for s in segments_info if not s["isthing"]]
    assert len(stuff) == len(set(stuff)), "one segment a stuff class"
    instances = output["instances"]
    assert instances.image_size == size and instances.pred_masks.shape == (len(instances), *size)
    # NaN is neither
    assert ((instances.scores >= 0) & (instances.scores <= 1)).all()
    assert set(instances.pred_classes.tolist()) <= set(thing_ids)

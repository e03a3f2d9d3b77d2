"""The parts of an official config in this project's keys; every function takes what it reads."""

import re
from typing import Any

from . import keys
from .keys import HEAD, LOSS, OLD, PIXEL, POST, QUERY, SWIN
from .reading import OfficialConfig


def project_of(old: OfficialConfig) -> str:
    """ "MaskFormer" or "Mask2Former", which both call their architecture MaskFormer.

    Raises:
        UserError: the config has marks of both, or is of another architecture.
    """
    name = old.left.get("MODEL.META_ARCHITECTURE")
    head = old.left.get(f"{HEAD}NAME", "MaskFormerHead")
    heads = {"MaskFormer": ["MaskFormerHead"], "SemanticSegmentor": keys.PER_PIXEL_HEADS}
    if name in keys.OUR_NAMES:
        old.refuse(
            f"names MODEL.META_ARCHITECTURE {name}, which the official files call "
            f"{keys.OUR_NAMES[name]}, beside their keys: use keys of one project."
        )
    if name is None:
        old.refuse("has no MODEL.META_ARCHITECTURE: give one of the files that name it as _BASE_.")
    if head not in heads.get(name, ()):
        old.refuse(
            f"names MODEL.META_ARCHITECTURE {name} with the head {head}, which is not here: only "
            "MaskFormer, PerPixelBaseline, PerPixelBaselinePlus and Mask2Former are, for images."
        )
    marks = {"MaskFormer": [], "Mask2Former": [k for k in keys.ONLY_MASK2FORMER if k in old.left]}
    if head != "MaskFormerHead":
        marks["MaskFormer"].append(f"{HEAD}NAME {head}")
    decoder = old.left.get(f"{HEAD}PIXEL_DECODER_NAME", "BasePixelDecoder")
    if decoder not in keys.PIXEL_DECODERS:
        old.refuse(f"names {HEAD}PIXEL_DECODER_NAME {decoder}, which does not exist here.")
    marks[keys.PIXEL_DECODERS[decoder][0]].append(f"{HEAD}PIXEL_DECODER_NAME {decoder}")
    if all(marks.values()):
        first, second = (found[-1] for found in marks.values())
        old.refuse(
            f"mixes keys of MaskFormer and of Mask2Former: {first} and {second}. Take out those of "
            "one project."
        )
    return keys.PIXEL_DECODERS[decoder][0]


def model(old: OfficialConfig, project: str) -> dict[str, Any]:
    """Architecture, decoders and losses."""
    is_new = project == "Mask2Former"
    old.take("MODEL.META_ARCHITECTURE")
    architecture = keys.PER_PIXEL_HEADS.get(old.take(f"{HEAD}NAME"), project)
    multiple = old.take(f"{OLD}SIZE_DIVISIBILITY", 32)
    dropout, width = old.take(f"{OLD}DROPOUT", 0.1), old.take(f"{OLD}DIM_FEEDFORWARD", 2048)
    encoder_layers = old.take(f"{HEAD}TRANSFORMER_ENC_LAYERS", 0)
    decoder = old.take(f"{HEAD}PIXEL_DECODER_NAME", "BasePixelDecoder")
    config = {
        "MODEL.META_ARCHITECTURE": architecture,
        # Per-pixel models pad as their backbone needs, which for ResNets is not at all.
        "MODEL.SIZE_DIVISIBILITY": multiple if architecture == project else 0,
        f"{PIXEL}LAYERS": 0 if decoder == "BasePixelDecoder" else encoder_layers,
        # In Mask2Former the encoder's width and the decoder's dropout are fixed, and the prediction
        # before the first layer counts as a layer.
        f"{PIXEL}DIM_FEEDFORWARD": 1024 if is_new else width,
        f"{PIXEL}DROPOUT": dropout,
        f"{QUERY}DROPOUT": 0.0 if is_new else dropout,
        f"{QUERY}LAYERS": old.take(f"{OLD}DEC_LAYERS", 6) - is_new,
        f"{QUERY}DIM_FEEDFORWARD": width,
        f"{LOSS}CLASS_WEIGHT": 1.0,
    }
    for key, (default, ours) in (keys.SAME_MEANING | (keys.MASK2FORMER if is_new else {})).items():
        config |= dict.fromkeys(ours, old.take(key, default))
    # What encoder and decoder read follows from the rest here.
    inputs = {f"{OLD}TRANSFORMER_IN_FEATURE": keys.PIXEL_DECODERS[decoder][1]}
    if is_new:
        encoded = f"{HEAD}DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES"
        features = list(config[f"{PIXEL}IN_FEATURES"])
        levels = len(old.left.get(encoded, features[1:]))
        inputs[encoded] = features[-levels:]  # only the coarsest ones can be encoded here
        config[f"{PIXEL}NUM_LEVELS"] = levels
    for key, value in inputs.items():
        if old.left.get(key) == value:
            old.take(key)
    return config


def backbone(old: OfficialConfig) -> dict[str, Any]:
    """Backbone and its pretrained weights, all from timm."""
    node = "MODEL.BACKBONE."
    name = old.take(f"{node}NAME", "build_resnet_backbone")
    depth, norm = old.take("MODEL.RESNETS.DEPTH", 50), old.take("MODEL.RESNETS.NORM", "FrozenBN")
    swin, drop_path = _swin(old), old.take(f"{SWIN}DROP_PATH_RATE", 0.3)
    checkpointing = old.take(f"{SWIN}USE_CHECKPOINT", False)
    if name == "D2SwinTransformer":
        config = {f"{node}TIMM_NAME": swin, f"{node}NORM": "BN", f"{node}DROP_PATH": drop_path}
        config["MODEL.CHECKPOINTING"] = ["backbone"] * checkpointing
    elif name == "build_resnet_backbone":
        config = {f"{node}TIMM_NAME": f"resnet{depth}", f"{node}NORM": norm}
    else:
        old.refuse(
            f"names {node}NAME {name}, which does not exist here: build_resnet_backbone and "
            "D2SwinTransformer do."
        )
    config[f"{node}NAME"] = "TimmBackbone"
    for pattern, tag in keys.PRETRAINED:
        if re.fullmatch(pattern, old.left.get("MODEL.WEIGHTS", "")):
            old.take("MODEL.WEIGHTS")
            config[f"{node}PRETRAINED"] = tag
    return config


def _swin(old: OfficialConfig) -> str:
    """timm's name of the Swin; that of the smallest one where there is none."""
    dim = old.take(f"{SWIN}EMBED_DIM", 96)
    depths = tuple(old.take(f"{SWIN}DEPTHS", (2, 2, 6, 2)))
    heads = tuple(old.take(f"{SWIN}NUM_HEADS", (3, 6, 12, 24)))
    size = dim, depths, heads, old.take(f"{SWIN}WINDOW_SIZE", 7)
    if size not in keys.SWINS:
        old.refuse(
            f"names a Swin whose EMBED_DIM, DEPTHS, NUM_HEADS and WINDOW_SIZE are {size}: it is "
            f"none of {', '.join(keys.SWINS.values())}."
        )
    return keys.SWINS[size]


def solver(old: OfficialConfig) -> dict[str, Any]:
    """Learning rate of the backbone, and precision."""
    factor = old.take("SOLVER.BACKBONE_MULTIPLIER", 0.1)
    return {
        "SOLVER.LR_MULTIPLIERS": [["backbone", factor]] if factor != 1 else [],
        # Detectron2's default is float32, ours is not.
        "SOLVER.AMP.ENABLED": old.left.pop("SOLVER.AMP.ENABLED", False),
    }


def results(old: OfficialConfig, project: str) -> dict[str, Any]:
    """What a model returns, and how segments are made of masks."""
    is_panoptic = old.take(f"{OLD}TEST.PANOPTIC_ON", False)
    score = old.take(f"{OLD}TEST.OBJECT_MASK_THRESHOLD", 0.0)
    lost = round(1 - old.take(f"{OLD}TEST.OVERLAP_THRESHOLD", 0.0), 6)  # kept share -> lost share
    config = {f"{POST}PANOPTIC_ON": is_panoptic, f"{POST}MERGING": project.lower()}
    if is_panoptic:
        shares = [f"{POST}{kind}_OVERLAP_THRESHOLD" for kind in ("THING", "STUFF")]
        config |= {f"{POST}SCORE_THRESHOLD": score} | dict.fromkeys(shares, lost)
    if project == "MaskFormer":
        config[f"{POST}SEMANTIC_ON"] = True
    if "instance" in old.left.get("INPUT.DATASET_MAPPER_NAME", ""):
        # Such data has no truth for the others, which one official config switches on all the same.
        config |= dict.fromkeys([f"{POST}PANOPTIC_ON", f"{POST}SEMANTIC_ON"], False)
    return config


def images(old: OfficialConfig) -> dict[str, Any]:
    """Data sets and augmentations."""
    # Semantic ground truth is made of the panoptic one here.
    config = {
        split: tuple(name.removesuffix("_with_sem_seg") for name in old.take(split, ()))
        for split in ("DATASETS.TRAIN", "DATASETS.TEST")
    }
    mapper = old.left.get("INPUT.DATASET_MAPPER_NAME", keys.MAPPERS[0])
    if mapper in (*keys.MAPPERS, "detr_panoptic", "coco_panoptic_lsj", "coco_instance_lsj"):
        old.take("INPUT.DATASET_MAPPER_NAME")
    if mapper.endswith("_lsj"):
        node = "INPUT.LARGE_SCALE_JITTER."
        config |= {
            f"{node}ENABLED": True,
            f"{node}SIZE": old.take("INPUT.IMAGE_SIZE", 1024),
            f"{node}MIN_SCALE": old.take("INPUT.MIN_SCALE", 0.1),
            f"{node}MAX_SCALE": old.take("INPUT.MAX_SCALE", 2.0),
        }
    elif mapper == "detr_panoptic":
        old.take("INPUT.CROP.TYPE")
        config["INPUT.DETR_CROP.ENABLED"] = old.take("INPUT.CROP.ENABLED", False)
        config["INPUT.DETR_CROP.SIZE"] = list(old.take("INPUT.CROP.SIZE", (384, 600)))
    return config

"""Keys that a config sets although nothing reads them, or nothing where other keys are as here."""

import re
from functools import reduce

from ..config import changed_keys
from ..d2.config import CfgNode

# Keys of Detectron2 that nothing here reads, or how these begin.
_UNREAD = (
    "DATALOADER.ASPECT_RATIO_GROUPING",
    "DATALOADER.REPEAT_",
    "DATALOADER.SAMPLER_TRAIN",
    "DATASETS.PRECOMPUTED_PROPOSAL_",
    "DATASETS.PROPOSAL_FILES_",
    "GLOBAL.",
    "INPUT.MASK_FORMAT",
    "MODEL.ANCHOR_GENERATOR.",
    "MODEL.KEYPOINT_ON",
    "MODEL.LOAD_PROPOSALS",
    "MODEL.MASK_ON",
    "MODEL.PANOPTIC_FPN.",
    "MODEL.PROPOSAL_GENERATOR.",
    "MODEL.RETINANET.",
    "MODEL.ROI_",
    "MODEL.RPN.",
    "MODEL.SEM_SEG_HEAD.",
    "TEST.AUG.",
    "TEST.KEYPOINT_OKS_SIGMAS",
    "TEST.PRECISE_BN.",
    "VIS_PERIOD",
)
_ARCHITECTURE = "MODEL.META_ARCHITECTURE"
_MERGING = "MODEL.POSTPROCESSING.MERGING"
_BACKBONE = "MODEL.BACKBONE.NAME"
_SCHEDULE = "SOLVER.LR_SCHEDULER_NAME"
_PSFORMER, _MASKFORMER = "PanopticSegFormer|PanopticSegFormerV1", "MaskFormer|Mask2Former"
_PER_PIXEL = "PerPixelBaseline|PerPixelBaselinePlus"
# A key and a pattern of its values -> keys that nothing reads where its value is another one, or
# how these begin. The baselines per pixel read fewer keys, but take the configs of MaskFormer.
_READ_WHERE = {
    (_ARCHITECTURE, _PSFORMER): ("MODEL.PSFORMER.", "MODEL.LOSS.BOX_", "MODEL.LOSS.GIOU_"),
    (_ARCHITECTURE, "PanopticSegFormer"): (
        "MODEL.PSFORMER.QUERY_DECOUPLING",
        "MODEL.PSFORMER.STUFF_CLASS_WEIGHT",
        "MODEL.PSFORMER.STUFF_MASK_LAYERS",
    ),
    (_ARCHITECTURE, "EoMT"): ("MODEL.EOMT.",),
    (_ARCHITECTURE, "Mask2Former|EoMT"): (
        "MODEL.LOSS.NUM_POINTS",
        "MODEL.LOSS.OVERSAMPLE_RATIO",
        "MODEL.LOSS.IMPORTANCE_SAMPLE_RATIO",
    ),
    (_ARCHITECTURE, f"{_PSFORMER}|MaskFormer|{_PER_PIXEL}"): ("MODEL.LOSS.FOCAL_",),
    (_ARCHITECTURE, f"{_PSFORMER}|Mask2Former"): (
        "MODEL.PIXEL_DECODER.NUM_LEVELS",
        "MODEL.PIXEL_DECODER.POINTS",
    ),
    (_ARCHITECTURE, "MaXDeepLab"): (
        "MODEL.MAX_DEEPLAB.",
        "MODEL.LOSS.PQ_WEIGHT",
        "MODEL.LOSS.MASK_ID_WEIGHT",
        "MODEL.LOSS.INSTANCE_WEIGHT",
        "MODEL.LOSS.SEMANTIC_WEIGHT",
    ),
    (_ARCHITECTURE, f"{_PSFORMER}|{_MASKFORMER}|{_PER_PIXEL}"): (
        "MODEL.LOSS.DEEP_SUPERVISION",
        "MODEL.PIXEL_DECODER.IN_FEATURES",
        "MODEL.PIXEL_DECODER.LAYERS",
        "MODEL.PIXEL_DECODER.HEADS",
        "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD",
        "MODEL.TRANSFORMER_DECODER.LAYERS",
        "MODEL.TRANSFORMER_DECODER.DROPOUT",
    ),
    (_ARCHITECTURE, f"{_PSFORMER}|{_MASKFORMER}|{_PER_PIXEL}|EoMT"): (
        "MODEL.LOSS.CLASS_WEIGHT",
        "MODEL.LOSS.DICE_WEIGHT",
    ),
    (_ARCHITECTURE, "(?!EoMT).*"): (
        "MODEL.PIXEL_DECODER.",
        "MODEL.TRANSFORMER_DECODER.HEADS",
        "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD",
    ),
    (_ARCHITECTURE, f"{_MASKFORMER}|{_PER_PIXEL}|MaXDeepLab"): ("MODEL.PIXEL_DECODER.MASK_DIM",),
    (_ARCHITECTURE, f"{_MASKFORMER}|{_PER_PIXEL}|EoMT"): (
        "MODEL.LOSS.MASK_WEIGHT",
        "MODEL.LOSS.NO_OBJECT_WEIGHT",
        "MODEL.LOSS.CLASS_NORMALIZER",
        "MODEL.LOSS.COUNT_PADDING",
        "MODEL.LOSS.MATCHING",
    ),
    (_MERGING, "mask_wise"): (
        "MODEL.POSTPROCESSING.CLASS_POWER",
        "MODEL.POSTPROCESSING.MASK_POWER",
    ),
    (_MERGING, "mask_wise|maskformer|mask2former"): (
        "MODEL.POSTPROCESSING.STUFF_OVERLAP_THRESHOLD",
        "MODEL.POSTPROCESSING.THING_OVERLAP_THRESHOLD",
    ),
    (_MERGING, "max_deeplab"): (
        "MODEL.POSTPROCESSING.THING_AREA_LIMIT",
        "MODEL.POSTPROCESSING.STUFF_AREA_LIMIT",
    ),
    (_BACKBONE, "TimmBackbone|PlainViT"): ("MODEL.BACKBONE.TIMM_NAME",),
    (_BACKBONE, "PlainViT"): ("MODEL.VIT.",),
    (_BACKBONE, "TimmBackbone|MaXDeepLabBackbone"): ("MODEL.BACKBONE.NORM",),
    # Detectron2's, or one that was registered elsewhere
    (_BACKBONE, "(?!TimmBackbone|PlainViT|MaXDeepLabBackbone).*"): ("MODEL.RESNETS.", "MODEL.FPN."),
    (_SCHEDULE, "WarmupMultiStepLR"): ("SOLVER.STEPS",),
    (_SCHEDULE, "WarmupMultiStepLR|WarmupStepWithFixedGammaLR"): ("SOLVER.GAMMA",),
    (_SCHEDULE, "WarmupStepWithFixedGammaLR"): ("SOLVER.NUM_DECAYS",),
    (_SCHEDULE, "WarmupCosineLR"): ("SOLVER.BASE_LR_END",),
    (_SCHEDULE, "WarmupPolyLR|WarmupThenPolyLR"): ("SOLVER.POLY_LR_CONSTANT_ENDING",),
    (_SCHEDULE, ".*PolyLR"): ("SOLVER.POLY_LR_POWER",),
    (_SCHEDULE, "TwoStageWarmupPolyLR"): ("SOLVER.BACKBONE_WARMUP_ITERS",),
    (_SCHEDULE, "(?!TwoStage).*"): ("SOLVER.WARMUP_FACTOR", "SOLVER.WARMUP_METHOD"),
    (_SCHEDULE, "Warmup(MultiStep|Cosine|StepWithFixedGamma)LR"): ("SOLVER.RESCALE_INTERVAL",),
    ("DATALOADER.ON_ERROR", "skip"): ("DATALOADER.MAX_SKIPPED",),
    ("SOLVER.LAYER_DECAY", r"0\..*"): ("SOLVER.LAYER_DECAY_SKIPS",),
    ("SOLVER.OPTIMIZER", "SGD"): ("SOLVER.MOMENTUM", "SOLVER.NESTEROV"),
    ("TEST.EVAL_PERIOD", "[1-9].*"): ("SOLVER.BEST_METRIC",),
    ("INPUT.DEEPLAB2.ENABLED", "False"): ("INPUT.MIN_SIZE_", "INPUT.MAX_SIZE_"),
    ("INPUT.LARGE_SCALE_JITTER.ENABLED", "False"): (
        "INPUT.MIN_SIZE_TRAIN",
        "INPUT.MAX_SIZE_TRAIN",
    ),
    **{
        (f"{group}.ENABLED", "True"): (f"{group}.",)
        for group in (
            "INPUT.CROP",
            "INPUT.DETR_CROP",
            "INPUT.LARGE_SCALE_JITTER",
            "INPUT.DEEPLAB2",
            "SOLVER.AMP",
            "SOLVER.CLIP_GRADIENTS",
        )
    },
}


def unread_keys(cfg: CfgNode) -> dict[str, str]:
    """Keys that differ from their defaults and have no effect -> why, as "SOLVER.OPTIMIZER is X".

    The reason is "" where no value of another key would change that. Nothing is known about
    architectures that this package does not have.
    """
    known = {
        name for key, names in _READ_WHERE if key == _ARCHITECTURE for name in names.split("|")
    }
    if cfg.MODEL.META_ARCHITECTURE not in known:
        return {}
    reasons = dict.fromkeys(_UNREAD, "")
    for (key, pattern), beginnings in _READ_WHERE.items():
        value = str(reduce(getattr, key.split("."), cfg))
        if not re.fullmatch(pattern, value):
            reasons |= dict.fromkeys(beginnings, f"{key} is {value}")
    found = {}
    for key in changed_keys(cfg):
        why = next((why for start, why in reasons.items() if key.startswith(start)), None)
        if why is not None and not why.startswith(f"{key} is "):
            found[key] = why
    return found


def describe_unread(cfg: CfgNode) -> str:
    """One sentence with all of :func:`unread_keys`; "" where there are none."""
    reasons: dict[str, list[str]] = {}
    for key, why in sorted(unread_keys(cfg).items()):
        reasons.setdefault(why, []).append(key)
    parts = [", ".join(keys) + (f" ({why})" if why else "") for why, keys in reasons.items()]
    return f"Set in vain, nothing reads {'; '.join(parts)}." if parts else ""

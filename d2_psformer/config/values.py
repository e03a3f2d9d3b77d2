"""The values that keys may have, where neither their type nor what reads them is strict enough."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..d2.config import CfgNode as CN
from ..utils.checks import check_choice
from ..utils.errors import UserError
from .defaults import default_config, leaves


@dataclass(frozen=True)
class Range:
    """Bounds of a number, or of every number of a list.

    Attributes:
        low: the smallest one, or with ``above`` what all are larger than.
        high: the largest one, or with ``below`` what all are smaller than.
        length: of the list; None: any.
    """

    low: float = -(10.0**9)
    high: float = 10.0**9
    above: bool = False
    below: bool = False
    length: int | None = None

    def __contains__(self, number: float) -> bool:
        is_at_end = (self.above and number == self.low) or (self.below and number == self.high)
        return self.low <= number <= self.high and not is_at_end

    def __str__(self) -> str:
        bounds = f"{'above' if self.above else 'at least'} {self.low:.10g}"
        if self.high < Range.high or self.low == Range.low:
            bounds += f" and {'below' if self.below else 'at most'} {self.high:.10g}"
        return f"{self.length} numbers {bounds}" if self.length else bounds


_COUNT, _AMOUNT, _SHARE = Range(1), Range(0), Range(0, 1)
_POSITIVE, _PIXELS, _SIDE = Range(0, above=True), Range(0, 65536), Range(1, 65536)
_INSIDE = Range(0, 1, above=True, below=True)
_SCALE = Range(0, 100, above=True)
_LAYERS, _WIDTH, _HEADS = Range(0, 1000), Range(0, 16384), Range(1, 1024)
_RANGES = {
    "DATALOADER.MAX_SKIPPED": _AMOUNT,
    "DATALOADER.NUM_WORKERS": Range(0, 1024),
    "INPUT.CROP.SIZE": Range(0, above=True, length=2),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": _POSITIVE,
    "INPUT.DEEPLAB2.MAX_SCALE": _SCALE,
    "INPUT.DEEPLAB2.MIN_SCALE": _SCALE,
    "INPUT.DEEPLAB2.SIZE": _SIDE,
    "INPUT.DEEPLAB2.STEPS": Range(1, 1000),
    "INPUT.DETR_CROP.RESIZE": _SIDE,
    "INPUT.DETR_CROP.SIZE": Range(1, 65536, length=2),
    "INPUT.LARGE_SCALE_JITTER.MAX_SCALE": _SCALE,
    "INPUT.LARGE_SCALE_JITTER.MIN_SCALE": _SCALE,
    "INPUT.LARGE_SCALE_JITTER.SIZE": _SIDE,
    "INPUT.MAX_SIZE_TEST": _COUNT,
    "INPUT.MAX_SIZE_TRAIN": _COUNT,
    "INPUT.MIN_SIZE_TEST": _PIXELS,
    "INPUT.MIN_SIZE_TRAIN": _PIXELS,
    "INPUT.SIZE_DIVISIBILITY": Range(-1, 65536),
    "MODEL.BACKBONE.FREEZE_AT": Range(0, 6),
    "MODEL.EOMT.MASK_ANNEALING": _AMOUNT,
    "MODEL.EOMT.QUERY_BLOCKS": _LAYERS,
    "MODEL.LOSS.FOCAL_ALPHA": _INSIDE,
    "MODEL.LOSS.FOCAL_GAMMA": _AMOUNT,
    "MODEL.LOSS.IMPORTANCE_SAMPLE_RATIO": _SHARE,
    "MODEL.LOSS.NUM_POINTS": Range(1, 10**7),
    "MODEL.LOSS.OVERSAMPLE_RATIO": Range(1, 1000),
    "MODEL.MAX_DEEPLAB.DECODER_STACKS": Range(0, 16),
    "MODEL.MAX_DEEPLAB.FEATURE_DIM": _WIDTH,
    "MODEL.MAX_DEEPLAB.HARDEST_PIXELS": Range(0, 1, above=True),
    "MODEL.MAX_DEEPLAB.MEMORY_DIM": _WIDTH,
    "MODEL.MAX_DEEPLAB.STEM_WIDTH": Range(0, 16),
    "MODEL.MAX_DEEPLAB.TRANSFORMER_WIDTH": _WIDTH,
    "MODEL.MAX_DEEPLAB.WIDTH": Range(0, 16),
    "MODEL.PADDING_VALUE": Range(0, 255),
    "MODEL.PIXEL_DECODER.DIM": _WIDTH,
    "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD": _WIDTH,
    "MODEL.PIXEL_DECODER.HEADS": _HEADS,
    "MODEL.PIXEL_DECODER.LAYERS": _LAYERS,
    "MODEL.PIXEL_DECODER.MASK_DIM": _WIDTH,
    "MODEL.PIXEL_DECODER.NUM_LEVELS": Range(1, 16),
    "MODEL.PIXEL_DECODER.POINTS": Range(1, 1024),
    "MODEL.PIXEL_MEAN": Range(length=3),
    "MODEL.PIXEL_STD": Range(0, above=True, length=3),
    "MODEL.POSTPROCESSING.STUFF_OVERLAP_THRESHOLD": _SHARE,
    "MODEL.POSTPROCESSING.THING_OVERLAP_THRESHOLD": _SHARE,
    "MODEL.POSTPROCESSING.WINDOW": _PIXELS,
    "MODEL.PSFORMER.BOX_SIZE_PRIOR": _INSIDE,
    "MODEL.PSFORMER.CLASS_PRIOR": _INSIDE,
    "MODEL.PSFORMER.STUFF_MASK_LAYERS": _LAYERS,
    "MODEL.PSFORMER.THING_MASK_LAYERS": _LAYERS,
    "MODEL.SIZE_DIVISIBILITY": _PIXELS,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": _WIDTH,
    "MODEL.TRANSFORMER_DECODER.HEADS": _HEADS,
    "MODEL.TRANSFORMER_DECODER.LAYERS": _LAYERS,
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": Range(1, 100_000),
    "MODEL.VIT.IMAGE_SIZE": _SIDE,
    "MODEL.VIT.PATCH_SIZE": _SIDE,
    "MODEL.VIT.ROTARY_RESCALE": Range(1, 16),
    "SEED": Range(high=2**31 - 1),
    "SOLVER.ACCUMULATION_STEPS": _COUNT,
    "SOLVER.BACKBONE_WARMUP_ITERS": _AMOUNT,
    "SOLVER.BASE_LR": _POSITIVE,
    "SOLVER.BASE_LR_END": _AMOUNT,
    "SOLVER.BIAS_LR_FACTOR": _AMOUNT,
    "SOLVER.CHECKPOINT_PERIOD": _COUNT,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": _POSITIVE,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": Range(0, math.inf, above=True),
    "SOLVER.EARLY_STOPPING": _AMOUNT,
    "SOLVER.GAMMA": _POSITIVE,
    "SOLVER.IMS_PER_BATCH": _COUNT,
    "SOLVER.LAYER_DECAY": Range(0, 1, above=True),
    "SOLVER.LAYER_DECAY_SKIPS": _AMOUNT,
    "SOLVER.LR_MULTIPLIERS": _AMOUNT,
    "SOLVER.MAX_BAD_STEPS": _AMOUNT,
    "SOLVER.MAX_ITER": _COUNT,
    "SOLVER.MOMENTUM": _SHARE,
    "SOLVER.NUM_DECAYS": Range(0, 1000),
    "SOLVER.POLY_LR_CONSTANT_ENDING": _SHARE,
    "SOLVER.POLY_LR_POWER": _AMOUNT,
    "SOLVER.REFERENCE_WORLD_SIZE": _AMOUNT,
    "SOLVER.STEPS": _COUNT,
    "SOLVER.WARMUP_FACTOR": _SHARE,
    "SOLVER.WARMUP_ITERS": _AMOUNT,
    "SOLVER.WEIGHT_DECAY": _AMOUNT,
    "SOLVER.WEIGHT_DECAY_BIAS": _AMOUNT,
    "SOLVER.WEIGHT_DECAY_EMBED": _AMOUNT,
    "SOLVER.WEIGHT_DECAY_NORM": _AMOUNT,
    "TEST.DETECTIONS_PER_IMAGE": _COUNT,
    "TEST.EVAL_PERIOD": _AMOUNT,
}
# The beginnings of all other keys whose numbers are not negative.
_NOT_NEGATIVE = ("MODEL.LOSS.", "MODEL.POSTPROCESSING.", "MODEL.MAX_DEEPLAB.", "INPUT.")
_CHOICES = {
    "DATALOADER.ON_ERROR": ("raise", "skip"),
    "FLOAT32_PRECISION": ("", "highest", "high", "medium"),
    "INPUT.FORMAT": ("RGB", "BGR"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "INPUT.RANDOM_FLIP": ("none", "horizontal", "vertical"),
    "MODEL.BACKBONE.NORM": ("BN", "FrozenBN", "SyncBN"),
}
_OPTIONAL = {"a number", "None"}
# What values consist of where a default does not show it; lists are of text if that is empty.
_KINDS = {
    "MODEL.PADDING_VALUE": _OPTIONAL,
    "SOLVER.WEIGHT_DECAY_BIAS": _OPTIONAL,
    "SOLVER.WEIGHT_DECAY_EMBED": _OPTIONAL,
    "SOLVER.WEIGHT_DECAY_NORM": _OPTIONAL,
    "TEST.EXPECTED_RESULTS": {"text", "a number"},
    "TEST.KEYPOINT_OKS_SIGMAS": {"a number"},
}
# What the lists in lists consist of, in this order.
_ENTRIES = {
    "MODEL.EOMT.MASK_ANNEALING": ("a whole number", "a whole number"),
    "SOLVER.LR_MULTIPLIERS": ("text", "a number"),
    "TEST.EXPECTED_RESULTS": ("text", "text", "a number", "a number"),
}


def check_values(cfg: CN) -> None:
    """
    Raises:
        UserError: a number is NaN or out of its range, a list has another length than it must have
            or entries of another type than its default, or a name is none of a few.
    """
    defaults = dict(leaves(default_config()))
    for key, value in leaves(cfg):
        is_new = key in defaults and value != defaults[key]
        if is_new and key != "DATASETS.REGISTER":  # whose entries are checked where they are used
            _check_kinds(key, value, defaults[key])
            _check_range(key, value)
            if key == "OUTPUT_DIR" and not value:
                raise UserError("OUTPUT_DIR is empty: name a folder.")
            if key == "OUTPUT_DIR" and "://" in value:
                raise UserError(f"OUTPUT_DIR is the address '{value}': name a folder on a disk.")
            if key in _CHOICES:
                check_choice(_CHOICES[key], **{key: value})


def _check_kinds(key: str, value: Any, default: Any) -> None:
    allowed = _KINDS.get(key) or {_kind(part) for part in _parts(default)} or {"text"}
    if key in _ENTRIES:
        for entry in _entries(value):
            kinds = _ENTRIES[key]
            parts = entry if isinstance(entry, list | tuple) else ()
            if len(parts) != len(kinds) or not all(map(_is_one_of, parts, [{k} for k in kinds])):
                raise UserError(f"{key} is {value!r}: its entries must be [{', '.join(kinds)}].")
        return
    is_nested = any(isinstance(entry, list | tuple) for entry in _entries(default))
    entries = [value] if default is None else _entries(value)
    for part in _parts(value) if is_nested else entries:
        if not _is_one_of(part, allowed):
            raise UserError(f"{key} is {value!r}: {part!r} must be {' or '.join(sorted(allowed))}.")


def _check_range(key: str, value: Any) -> None:
    usual = _AMOUNT if key.startswith(_NOT_NEGATIVE) else Range()
    allowed, parts = _RANGES.get(key, usual), [*_parts(value)]
    numbers = [part for part in parts if isinstance(part, int | float)]
    if allowed.length not in (None, len(parts)) or not all(n in allowed for n in numbers):
        is_huge = max(numbers, default=0) > allowed.high == Range.high
        rule = f"at most {Range.high:.10g}" if is_huge else allowed
        raise UserError(f"{key} is {value!r}: it must be {rule}.")


def _entries(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _parts(value: Any) -> Iterator[Any]:
    """The entries of a list and of the lists in it, or the value itself."""
    for entry in _entries(value):
        yield from _parts(entry) if isinstance(entry, list | tuple) else [entry]


def _is_one_of(part: Any, kinds: Collection[str]) -> bool:
    return _kind(part) in kinds or (type(part) is int and "a number" in kinds)


def _kind(value: Any) -> str:
    kinds = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    return kinds.get(type(value), "None" if value is None else type(value).__name__)

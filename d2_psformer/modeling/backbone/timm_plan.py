"""What a timm model is like, found out before there is memory for its weights."""

import math

import timm
import torch
from torch import nn

from ...utils.errors import UserError

STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
# Multiples that images are padded to for models that do not take any size, the least one first:
# of the coarsest stride, or of the windows that some cut their coarsest map into.
_PADDINGS = (32, 64, 224, 256, 384, 512)


def check_timm_name(name: str) -> None:
    """Raise UserError for a name that is none of timm's own models, as that of a folder or a hub.

    Of a name with a tag of weights, ``NAME.TAG``, timm must have both.
    """
    if not timm.is_model(name) or ("." in name and not timm.is_model_pretrained(name)):
        near = timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise UserError(f"timm has no model '{name}' (MODEL.BACKBONE.TIMM_NAME){hint}.")


def feature_plan(name: str, options: dict) -> nn.Module:
    """The whole feature extractor without memory for weights."""
    check_timm_name(name)
    try:
        with torch.device("meta"):
            return timm.create_model(name, pretrained=False, features_only=True, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise UserError(
            f"timm model '{name}' has no stochastic depth: set MODEL.BACKBONE.DROP_PATH to 0."
        ) from error


def feature_index(plan: nn.Module, name: str, features: list[str]) -> list[int]:
    """The places of features, each a key of ``STRIDES``, among all that the model has.

    Raises:
        UserError: it has no feature of their strides.
    """
    strides = [info["reduction"] for info in plan.feature_info]
    missing = [feature for feature in features if STRIDES.get(feature) not in strides]
    if missing:
        raise UserError(
            f"timm model '{name}' has strides {strides}, none for {', '.join(missing)}; "
            "res2 … res5 stand for 4, 8, 16, 32."
        )
    return [strides.index(STRIDES[feature]) for feature in features]


def unused_parameters(plan: nn.Module, strides: list[int], multiple: int) -> set[str]:
    """Names of parameters that the maps of these strides do not depend on, as HRNet can have.

    Args:
        multiple: result of :func:`divisibility`.
    """
    side = multiple or max(plan.feature_info.reduction())
    with torch.enable_grad():
        maps = plan(torch.zeros(1, 3, side, 2 * side, device="meta"))
        every = zip(plan.feature_info.reduction(), maps, strict=True)
        nothing = torch.zeros((), device="meta", requires_grad=True)
        sum((y.sum() for stride, y in every if stride in strides), nothing).backward()
    return {name for name, parameter in plan.named_parameters() if parameter.grad is None}


def divisibility(name: str, plan: nn.Module) -> int:
    """0 where odd sizes give ceil(size / stride) cells, else what sides must be a multiple of."""
    coarsest = max(plan.feature_info.reduction())
    if _fits(plan, 2 * coarsest + 1, 3 * coarsest + 1):
        return 0
    for side in _PADDINGS:
        if _fits(plan, side, 2 * side):
            return side
    raise UserError(
        f"timm model '{name}' cannot take images of any size, not even padded to multiples of "
        f"{', '.join(map(str, _PADDINGS))} pixels: choose another MODEL.BACKBONE.TIMM_NAME."
    )


def _fits(plan: nn.Module, height: int, width: int) -> bool:
    """Whether an image of this size gives maps of its size divided by the strides, rounded up."""
    strides = plan.feature_info.reduction()
    try:
        maps = plan.eval()(torch.zeros(1, 3, height, width, device="meta"))
    except (AssertionError, RuntimeError, ValueError, IndexError):
        return False  # of windows that do not fit, of maps of odd sizes that cannot be added up
    rows = 1 if puts_channels_last(plan) else 2
    return all(
        tuple(y.shape[rows : rows + 2]) == (math.ceil(height / s), math.ceil(width / s))
        for y, s in zip(maps, strides, strict=True)
    )


def puts_channels_last(model: nn.Module) -> bool:
    return getattr(model, "output_fmt", "NCHW") == "NHWC"

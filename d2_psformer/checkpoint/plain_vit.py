"""Weights of plain vision transformers, resampled to other sizes of image and patch by timm."""

from typing import Any

from timm.models import eva, vision_transformer
from torch import Tensor, nn

from ..utils.errors import UserError
from .dino_names import timm_names
from .files import read_checkpoint

# The prefix of a backbone's names in files of whole detectors and segmenters.
_OF_DETECTORS = "backbone."


def backbone_entries(path: str) -> dict[str, Tensor]:
    """The weights of a file's backbone, or all if it has no other part."""
    content = read_checkpoint(path)["model"]
    of_detector = {
        key.removeprefix(_OF_DETECTORS): value
        for key, value in content.items()
        if key.startswith(_OF_DETECTORS)
    }
    return of_detector or content


def plain_vit_options(backbone: nn.Module) -> dict[str, Any]:
    """What timm must know to make a model like that of a :class:`PlainViT`."""
    embedding = backbone.vit.patch_embed
    sizes = {"img_size": embedding.img_size, "patch_size": embedding.patch_size}
    return {**sizes, "num_classes": 0, "global_pool": ""}


def plain_vit_weights(path: str, backbone: nn.Module) -> dict[str, Tensor]:
    """Weights for a :class:`PlainViT` from a file.

    Its names are those of timm, of DINOv2 or DINOv3 or of these in transformers, or ours.

    Raises:
        UserError: the file is missing or unusable, or no vision transformer's.
    """
    content = {key.removeprefix("vit."): x for key, x in backbone_entries(path).items()}
    content = timm_names(content)
    is_eva = isinstance(backbone.vit, eva.Eva)
    fit = (eva if is_eva else vision_transformer).checkpoint_filter_fn
    try:
        weights = fit(content, backbone.vit)
    except (AssertionError, KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"'{path}' cannot be resampled for {backbone.name} ({error}): is it another model's "
            "file?"
        ) from error
    return {f"vit.{key}": value for key, value in weights.items()}

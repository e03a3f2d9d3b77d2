"""Whose checkpoint a file is, and how it becomes one of ours."""

from collections.abc import Container

from torch import Tensor

from ..utils.errors import UserError
from .deeplab2 import convert_deeplab2
from .eomt import convert_eomt, convert_hf_eomt
from .huggingface import convert_hf_mask2former, convert_hf_maskformer
from .official import convert_official
from .relatives import convert_mask2former, convert_maskformer

CONVERTERS = {
    "official": convert_official,
    "maskformer": convert_maskformer,
    "mask2former": convert_mask2former,
    "hf-maskformer": convert_hf_maskformer,
    "hf-mask2former": convert_hf_mask2former,
    "deeplab2": convert_deeplab2,
    "eomt": convert_eomt,
    "hf-eomt": convert_hf_eomt,
}
# A parameter that no other source has; the first two are of MaskFormer and its baselines.
_SIGNS = {
    "sem_seg_head.predictor.transformer.decoder.norm.weight": "maskformer",
    "sem_seg_head.predictor.weight": "maskformer",
    "sem_seg_head.predictor.decoder_norm.weight": "mask2former",
    "mask_embedder.0.0.weight": "hf-maskformer",
    "model.transformer_module.queries_features.weight": "hf-mask2former",
    "bbox_head.query_embedding.weight": "official",
    "encoder/_stage5/_block1/_conv1_bn_act/_conv/kernel": "deeplab2",
    "network.q.weight": "eomt",
    "upscale_block.block.0.conv1.weight": "hf-eomt",
}


def source_of(names: Container[str]) -> str | None:
    """The source that a checkpoint with these names is from, by one of them; None if unknown."""
    return next((source for sign, source in _SIGNS.items() if sign in names), None)


def convert(weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """The state dict of our model.

    Args:
        weights: a state dict with the names of ``source``.
        source: one of ``CONVERTERS``.

    Raises:
        UserError: the names are those of another source, or one of them is unknown.
    """
    found = source_of(weights)
    if found not in (None, source):
        raise UserError(
            f"This is a checkpoint of the source '{found}', not '{source}': "
            f"convert it with --source {found}."
        )
    return CONVERTERS[source](weights)

"""Backbone weights that training starts from."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import timm
from torch import Tensor, nn

from ..d2.utils import comm
from ..utils.errors import UserError
from ..utils.wording import counted
from .backbone_names import body_name
from .finite import check_finite, check_kinds
from .plain_vit import backbone_entries, plain_vit_options, plain_vit_weights

logger = logging.getLogger(__name__)


def load_pretrained_backbone(model: nn.Module, cfg) -> None:
    """Fill ``model.backbone`` from ``MODEL.BACKBONE.WEIGHTS`` (a file) or ``.PRETRAINED`` (timm).

    Those of :class:`PlainViT` are resampled to its sizes of image and patch. Backbones of
    Detectron2 get theirs from its own MODEL.WEIGHTS, with which this function is not called.

    Raises:
        UserError: the file is missing or unusable, its weights do not fit or are not finite, timm
            has no such weights or cannot get them, or layers are frozen without weights for them.
    """
    node = cfg.MODEL.BACKBONE
    backbone = model.backbone
    is_timm = node.NAME in ("TimmBackbone", "PlainViT")
    is_plain = node.NAME == "PlainViT"
    if is_timm and node.WEIGHTS:
        source = node.WEIGHTS
        weights = (plain_vit_weights if is_plain else _from_file)(source, backbone)
    elif is_timm and node.PRETRAINED:
        source = f"{node.TIMM_NAME}.{node.PRETRAINED}"
        _check_tag(node.TIMM_NAME, node.PRETRAINED)
        with _main_process_of_machine_first():
            weights = _from_timm(source, backbone, is_plain)
    elif any(not p.requires_grad for p in backbone.parameters()):
        keys = "MODEL.BACKBONE.PRETRAINED or .WEIGHTS" if is_timm else "MODEL.WEIGHTS"
        raise UserError(
            "Layers of the backbone are frozen, but there are no weights for them: name them in "
            f"{keys}, or freeze nothing (MODEL.BACKBONE.FREEZE_AT 0, NORM BN)."
        )
    else:
        logger.warning("The backbone starts from random weights: no pretrained ones are named.")
        return
    _fill(backbone, weights, source)
    check_finite(backbone.state_dict(), f"'{source}'", "use another file, or download it again")
    logger.info("The backbone starts from %s.", source)


@contextmanager
def _main_process_of_machine_first() -> Iterator[None]:
    """Run the block in one process first: the others then find its download in the cache."""
    is_first = comm.get_local_rank() == 0
    if not is_first:
        comm.synchronize()
    yield
    if is_first:
        comm.synchronize()


def _from_file(path: str, backbone: nn.Module) -> dict[str, Tensor]:
    content, num_levels = backbone_entries(path), len(backbone.out_features)
    renamed = {body_name(k, content, num_levels=num_levels): x for k, x in content.items()}
    renamed.pop(None, None)
    return renamed


def _check_tag(name: str, tag: str) -> None:
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if tag not in known:
        raise UserError(
            f"timm has no weights '{tag}' for '{name}' (MODEL.BACKBONE.PRETRAINED), but "
            f"{', '.join(known) or 'none at all'}; a file can be given as MODEL.BACKBONE.WEIGHTS."
        )


def _from_timm(name: str, backbone: nn.Module, is_plain: bool) -> dict[str, Tensor]:
    """Download weights, or take them from timm's cache."""
    logger.info("Getting the weights '%s' through timm.", name)
    if is_plain:
        options, prefix = plain_vit_options(backbone), "vit"
    else:
        indices = backbone.body.feature_info.out_indices
        options, prefix = {"features_only": True, "out_indices": indices}, "body"
        options |= {"strict_img_size": False} if backbone.is_swin else {}
    try:
        source = timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError, ValueError) as error:  # of the network, of the file
        reason = " ".join(str(error).split())
        raise UserError(
            f"timm could not get '{name}' ({type(error).__name__}: {reason}): check the network, "
            "or give a file as MODEL.BACKBONE.WEIGHTS."
        ) from error
    return {f"{prefix}.{key}": value for key, value in source.state_dict().items()}


def _fill(backbone: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load all weights of the body; output norms are new in a detector and may be missing."""
    own = backbone.state_dict()
    check_kinds(own, weights, f"'{source}'")
    for name, value in own.items():
        if name not in weights:
            continue
        if weights[name].squeeze().shape == value.squeeze().shape:  # a scale as (C,) or (C, 1, 1)
            weights[name] = weights[name].reshape(value.shape)
        else:
            raise UserError(
                f"'{source}' has '{name}' of shape {tuple(weights[name].shape)}, "
                f"{backbone.name} needs {tuple(value.shape)}: is it another size of this model?"
            )
    missing = [
        name
        for name in own
        if name not in weights
        and not name.startswith("output_norms.")
        and not name.endswith("num_batches_tracked")
    ]
    if missing:
        raise UserError(
            f"'{source}' lacks {len(missing)} of {counted(len(own), 'tensor')} of {backbone.name}, "
            f"the first '{missing[0]}': is it another model's file?"
        )
    backbone.load_state_dict({k: v for k, v in weights.items() if k in own}, strict=False)

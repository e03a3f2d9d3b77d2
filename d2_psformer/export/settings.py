"""What a program without PyTorch must know of a model beside its network."""

import math
from dataclasses import asdict
from typing import Any

from ..d2.config import CfgNode
from .network import ExportedNetwork, Size


def deployment_settings(
    cfg: CfgNode, network: ExportedNetwork, categories: list[dict], canvas: Size | None
) -> dict[str, Any]:
    """The settings that :class:`d2_psformer.deployment.Model` reads, as plain JSON.

    Args:
        categories: of :meth:`.Classes.categories`, with the data set's ids.
        canvas: the only size that the network takes; None: any.
    """
    model = network.model
    normalizer, processor = model.normalizer, model.postprocessor
    multiple, more = max(normalizer.size_divisibility, 1), normalizer.more
    node, deeplab2 = cfg.INPUT, cfg.INPUT.DEEPLAB2
    rule = {"short": node.MIN_SIZE_TEST, "long": node.MAX_SIZE_TEST, "aligned": False}
    if deeplab2.ENABLED:  # one square for images of every size
        rule = {"short": 0, "long": deeplab2.SIZE, "aligned": True}
        canvas = canvas or (math.ceil((deeplab2.SIZE - more) / multiple) * multiple + more,) * 2
    return {
        "architecture": cfg.MODEL.META_ARCHITECTURE,
        "categories": categories,
        "resize": rule,
        "multiple": multiple,
        "more": more,
        "canvas": canvas,
        "stride": model.mask_stride,
        "aligned_corners": model.aligned_corners,
        "mask_kind": network.kinds()[1],
        "merging": {"name": cfg.MODEL.POSTPROCESSING.MERGING, **asdict(processor.merging)},
        "panoptic": processor.panoptic,
        "semantic": processor.semantic,
    }

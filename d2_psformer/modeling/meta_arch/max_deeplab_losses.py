"""The losses of MaX-DeepLab as a config describes them."""

from ...d2.utils import comm
from ...utils.errors import UserError
from ..criterion import (
    InstanceDiscrimination,
    MaskId,
    MaXDeepLabCriterion,
    PQStyle,
    SemanticEntropy,
)
from .segmenter import config_node


def max_deeplab_criterion(cfg) -> MaXDeepLabCriterion:
    """PQ-style, mask-id, instance-discrimination and semantic loss; those of weight 0 are off.

    Raises:
        UserError: a value is wrong, or no loss is left that masks are learned by, or in one of
            several processes classes.
    """
    weights, node = cfg.MODEL.LOSS, cfg.MODEL.MAX_DEEPLAB
    if weights.PQ_WEIGHT == weights.MASK_ID_WEIGHT == 0:
        raise UserError(
            "MODEL.LOSS.PQ_WEIGHT and MODEL.LOSS.MASK_ID_WEIGHT are 0: no masks would be learned, "
            "so set one of them above 0."
        )
    if weights.PQ_WEIGHT == 0 and comm.get_world_size() > 1:
        raise UserError(
            "MODEL.LOSS.PQ_WEIGHT is 0: the classes of the queries would have no gradient, which "
            "several processes wait for, so use one process or a very small weight."
        )
    with config_node("MODEL.MAX_DEEPLAB", weight="MODEL.LOSS"):
        hardest = node.HARDEST_PIXELS
        return MaXDeepLabCriterion(
            [
                PQStyle(weights.PQ_WEIGHT, node.POSITIVE_SHARE, node.NEGATIVE_WEIGHT),
                MaskId(weights.MASK_ID_WEIGHT, hardest),
                InstanceDiscrimination(weights.INSTANCE_WEIGHT, hardest, node.TEMPERATURE),
                SemanticEntropy(
                    weights.SEMANTIC_WEIGHT,
                    hardest,
                    node.SMALL_THING_WEIGHT,
                    node.SMALL_THING_AREA,
                ),
            ]
        )

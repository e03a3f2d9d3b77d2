"""Mask2Former (Cheng et al., CVPR 2022, arXiv 2112.01527)."""

from ...d2.modeling import META_ARCH_REGISTRY
from ..pixel_decoder import Mask2FormerPixelDecoder
from ..transformer_decoder import MaskedAttentionDecoder
from .maskformer import MaskFormer, build_decoder, mask_classification_parts
from .maskformer_losses import mask2former_criterion
from .segmenter import config_node, shared_parts


@META_ARCH_REGISTRY.register()
class Mask2Former(MaskFormer):
    """MaskFormer whose queries read inside their own masks, on three scales in turn.

    The pixel decoder attends to deformable points of three levels, and masks are learned at points.
    """

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared = shared_parts(cfg)
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = Mask2FormerPixelDecoder(cfg, shared["backbone"].output_shape())
        options = {"num_levels": cfg.MODEL.PIXEL_DECODER.NUM_LEVELS}
        classes = shared["classes"].num_classes
        return {
            **shared,
            **mask_classification_parts(cfg, shared, pixel_decoder),
            "transformer_decoder": build_decoder(cfg, MaskedAttentionDecoder, classes, **options),
            "criterion": mask2former_criterion(cfg),
        }

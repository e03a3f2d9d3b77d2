"""MaskFormer (Cheng, Schwing, Kirillov, NeurIPS 2021, arXiv 2107.06278)."""

from torch import Tensor

from ...classes import NO_OBJECT, Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ...utils.checks import check_fraction
from ..criterion import SetCriterion
from ..outputs import SegmenterOutputs
from ..pixel_decoder import Mask2FormerPixelDecoder, MaskFormerPixelDecoder
from ..transformer_decoder import DetrDecoder, MaskedAttentionDecoder
from .maskformer_losses import maskformer_criterion
from .segmenter import Segmenter, config_node, shared_parts


@META_ARCH_REGISTRY.register()
class MaskFormer(Segmenter):
    """Mask classification: every query gives one class, or "no object", and one mask.

    The same model, loss and training serve panoptic, instance and semantic segmentation.
    """

    @configurable
    def __init__(
        self,
        *,
        pixel_decoder: MaskFormerPixelDecoder | Mask2FormerPixelDecoder,
        transformer_decoder: DetrDecoder | MaskedAttentionDecoder,
        criterion: SetCriterion,
        deep_supervision: bool = True,
        **shared,
    ):
        """
        Args:
            deep_supervision: the outputs of every layer of the transformer decoder have a loss.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        self.pixel_decoder = pixel_decoder
        self.transformer_decoder = transformer_decoder
        self.criterion = criterion
        self.deep_supervision = deep_supervision

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared = shared_parts(cfg)
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = MaskFormerPixelDecoder(cfg, shared["backbone"].output_shape())
        return {
            **shared,
            **mask_classification_parts(cfg, shared, pixel_decoder),
            "transformer_decoder": build_decoder(cfg, DetrDecoder, shared["classes"].num_classes),
            "criterion": maskformer_criterion(cfg),
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """Classes and masks of all queries; in training those of every layer.

        The network reads padding as image, as the official code does.
        """
        features = self.pixel_decoder(self.backbone(images))
        every_layer = self.training and self.deep_supervision
        return SegmenterOutputs({"queries": self.transformer_decoder(features, every_layer)})

    def class_rows(self, classes: Classes) -> dict[str, list[int]]:
        ids = [*range(classes.num_classes), NO_OBJECT]
        return {"transformer_decoder.mask_heads.class_embed": ids}


def mask_classification_parts(cfg, shared: dict, pixel_decoder) -> dict:
    """The arguments that MaskFormer and Mask2Former take from a config in the same way."""
    # their masks are probabilities: no pixel would be above 1
    check_fraction(
        **{"MODEL.POSTPROCESSING.MASK_THRESHOLD": cfg.MODEL.POSTPROCESSING.MASK_THRESHOLD}
    )
    features = shared["backbone"].output_shape()
    return {
        "pixel_decoder": pixel_decoder,
        "mask_stride": features[pixel_decoder.in_features[0]].stride,
        "deep_supervision": cfg.MODEL.LOSS.DEEP_SUPERVISION,
    }


def build_decoder(cfg, decoder: type, num_classes: int | None, **options):
    """A transformer decoder of MODEL.TRANSFORMER_DECODER; see the class for the arguments."""
    node, pixels = cfg.MODEL.TRANSFORMER_DECODER, cfg.MODEL.PIXEL_DECODER
    arguments = {
        "num_classes": num_classes,
        "dim": pixels.DIM,
        "mask_dim": pixels.MASK_DIM,
        "num_queries": node.NUM_QUERIES,
        "layers": node.LAYERS,
        "heads": node.HEADS,
        "dim_feedforward": node.DIM_FEEDFORWARD,
        "dropout": node.DROPOUT,
        "checkpointing": "transformer_decoder" in cfg.MODEL.CHECKPOINTING,
    }
    with config_node("MODEL.TRANSFORMER_DECODER"):
        return decoder(**arguments | options)

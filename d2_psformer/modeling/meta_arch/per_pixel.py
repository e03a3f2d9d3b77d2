"""Per-pixel classification, the baselines of MaskFormer (section 4)."""

from torch import Tensor, nn

from ...classes import Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ..criterion import PixelCrossEntropy
from ..outputs import SegmenterOutputs
from ..pixel_decoder import FPN, MaskFormerPixelDecoder
from ..pixel_decoder.features import backbone_channels
from ..transformer_decoder import DetrDecoder
from .maskformer import MaskFormer, build_decoder, mask_classification_parts
from .segmenter import Segmenter, config_node, shared_parts


@META_ARCH_REGISTRY.register()
class PerPixelBaseline(Segmenter):
    """An FPN and a linear classifier of its pixels."""

    @configurable
    def __init__(
        self,
        *,
        in_features: list[str],
        fpn: FPN,
        classifier: nn.Conv2d,
        criterion: PixelCrossEntropy,
        **shared,
    ):
        """
        Args:
            in_features: backbone features that the FPN reads, fine to coarse.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        self.in_features = in_features
        self.fpn, self.classifier, self.criterion = fpn, classifier, criterion

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared, node = shared_parts(cfg), cfg.MODEL.PIXEL_DECODER
        features = shared["backbone"].output_shape()
        channels = backbone_channels(cfg, features)
        stride = features[next(iter(channels))].stride
        with config_node("MODEL.PIXEL_DECODER"):
            fpn = FPN(list(channels.values()), node.DIM, node.MASK_DIM)
        classifier = nn.Conv2d(node.MASK_DIM, shared["classes"].num_classes, kernel_size=1)
        nn.init.kaiming_normal_(classifier.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(classifier.bias)
        return {
            **shared,
            "in_features": list(channels),
            "fpn": fpn,
            "classifier": classifier,
            "criterion": PixelCrossEntropy(stride=stride),
            "mask_stride": stride,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        features = self.backbone(images)
        pixels = self.fpn([features[f] for f in self.in_features])
        return SegmenterOutputs(pixel_logits=[self.classifier(pixels)])

    def class_rows(self, classes: Classes) -> dict[str, range]:
        return {"classifier": range(classes.num_classes)}


@META_ARCH_REGISTRY.register()
class PerPixelBaselinePlus(MaskFormer):
    """MaskFormer's network with query k for class k: its mask logits are the class's."""

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared = shared_parts(cfg)
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = MaskFormerPixelDecoder(cfg, shared["backbone"].output_shape())
        parts = mask_classification_parts(cfg, shared, pixel_decoder)
        queries = {"num_queries": shared["classes"].num_classes}
        return {
            **shared,
            **parts,
            "transformer_decoder": build_decoder(cfg, DetrDecoder, None, **queries),
            "criterion": PixelCrossEntropy(stride=parts["mask_stride"]),
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        outputs = super().predict(images, padding)
        return SegmenterOutputs(pixel_logits=outputs.queries["queries"].masks)

    def class_rows(self, classes: Classes) -> dict[str, range]:
        return {"transformer_decoder.query_embed": range(classes.num_classes)}

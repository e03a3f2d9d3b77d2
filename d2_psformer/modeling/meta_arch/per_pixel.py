"""Per-pixel classification, the baselines of MaskFormer (section 4)."""

from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ..criterion import PixelCrossEntropy
from ..outputs import SegmenterOutputs
from ..pixel_decoder import FPN, MaskFormerPixelDecoder
from ..pixel_decoder.features import backbone_channels
from ..transformer_decoder import DetrDecoder
from .maskformer import build_decoder
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
        compiled: bool = False,
        **shared,
    ):
        """
        Args:
            in_features: backbone features that the FPN reads, fine to coarse.
            compiled: run the parts through torch.compile.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        self.in_features = in_features
        self.fpn, self.classifier, self.criterion = fpn, classifier, criterion
        if compiled:
            self.compile_parts()

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared, node = shared_parts(cfg), cfg.MODEL.PIXEL_DECODER
        features = shared["backbone"].output_shape()
        channels = backbone_channels(cfg, features)
        classifier = nn.Conv2d(node.MASK_DIM, shared["classes"].num_classes, kernel_size=1)
        nn.init.kaiming_normal_(classifier.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(classifier.bias)
        return {
            **shared,
            "in_features": list(channels),
            "fpn": FPN(list(channels.values()), node.DIM, node.MASK_DIM),
            "classifier": classifier,
            "criterion": PixelCrossEntropy(),
            "mask_stride": features[next(iter(channels))].stride,
            "compiled": cfg.MODEL.COMPILE,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        features = self.backbone(images)
        pixels = self.fpn([features[f] for f in self.in_features])
        return SegmenterOutputs(pixel_logits=[self.classifier(pixels)])


@META_ARCH_REGISTRY.register()
class PerPixelBaselinePlus(Segmenter):
    """MaskFormer's network with query k for class k: its mask logits are the class's."""

    @configurable
    def __init__(
        self,
        *,
        pixel_decoder: MaskFormerPixelDecoder,
        transformer_decoder: DetrDecoder,
        criterion: PixelCrossEntropy,
        compiled: bool = False,
        **shared,
    ):
        """
        Args:
            transformer_decoder: one without a classifier.
            compiled: run the parts through torch.compile.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        self.pixel_decoder, self.transformer_decoder = pixel_decoder, transformer_decoder
        self.criterion = criterion
        if compiled:
            self.compile_parts()

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared = shared_parts(cfg)
        features = shared["backbone"].output_shape()
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = MaskFormerPixelDecoder(cfg, features)
        queries = {"num_queries": shared["classes"].num_classes}
        return {
            **shared,
            "pixel_decoder": pixel_decoder,
            "transformer_decoder": build_decoder(cfg, DetrDecoder, None, **queries),
            "criterion": PixelCrossEntropy(),
            "mask_stride": features[pixel_decoder.in_features[0]].stride,
            "compiled": cfg.MODEL.COMPILE,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        features = self.pixel_decoder(self.backbone(images))
        outputs = self.transformer_decoder(features, every_layer=self.training)
        return SegmenterOutputs(pixel_logits=outputs.masks)

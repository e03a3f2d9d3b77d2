"""MaX-DeepLab (Wang, Zhu, Adam, Yuille, Chen, CVPR 2021, arXiv 2012.00759)."""

from torch import Tensor, nn

from ...classes import NO_OBJECT, Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ...d2.utils import comm
from ...utils.checks import check_at_least, check_choice, check_fraction
from ...utils.errors import check_known
from ..backbone.frozen_norms import freeze_batch_norms
from ..criterion import MaXDeepLabCriterion, Targets
from ..outputs import SOFTMAX, QueryOutputs, SegmenterOutputs
from .max_deeplab_heads import ClassHead, MaskHead, SemanticHead
from .max_deeplab_losses import max_deeplab_criterion
from .preprocessing import ImageBatch
from .segmenter import Segmenter, shared_parts
from .training_metrics import log_mask_id_accuracy


@META_ARCH_REGISTRY.register()
class MaXDeepLab(Segmenter):
    """A memory of N queries in dialogue with the pixels, from within the backbone on.

    Each query gives a class, or void, and an embedding, whose product with those of the pixels goes
    through a softmax over the queries. An auxiliary head classifies every pixel in training.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        dim: int,
        dropout: float,
        mask_dim: int,
        criterion: MaXDeepLabCriterion,
        semantic: bool = True,
        norm: str = "BN",
        **shared,
    ):
        """
        Args:
            num_classes: without void.
            dim, dropout: channels and dropout inside of the heads of pixels.
            mask_dim: channels of the embeddings.
            semantic: there is an auxiliary semantic head.
            norm: "BN", "FrozenBN" or "SyncBN", in the whole network.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        features = self.backbone.output_shape()
        self.criterion = criterion
        self.mask_head = MaskHead(
            features["panoptic"].channels, features["mask_memory"].channels, dim, mask_dim
        )
        self.class_head = ClassHead(features["class_memory"].channels, num_classes + 1)
        self.semantic_head = None
        if semantic:
            self.semantic_head = SemanticHead(features, dim, num_classes + 1, dropout)
        check_known("MODEL.BACKBONE.NORM", norm, ("BN", "FrozenBN", "SyncBN"))
        if norm == "SyncBN" and comm.get_world_size() > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self)
        elif norm == "FrozenBN":
            nn.ModuleList(freeze_batch_norms(self)).requires_grad_(False)

    @classmethod
    def from_config(cls, cfg) -> dict:
        check_choice(("MaXDeepLabBackbone",), **{"MODEL.BACKBONE.NAME": cfg.MODEL.BACKBONE.NAME})
        shared, node = shared_parts(cfg, ("backbone",)), cfg.MODEL.PIXEL_DECODER
        least = {"DIM": 8, "MASK_DIM": 1}  # the semantic head has an eighth of DIM inside
        for key, channels in least.items():
            check_at_least(channels, **{f"MODEL.PIXEL_DECODER.{key}": node[key]})
        check_fraction(**{"MODEL.PIXEL_DECODER.DROPOUT": node.DROPOUT})
        return {
            **shared,
            "mask_stride": 4,
            "num_classes": shared["classes"].num_classes,
            "dim": node.DIM,
            "dropout": node.DROPOUT,
            "mask_dim": node.MASK_DIM,
            "criterion": max_deeplab_criterion(cfg),
            "norm": cfg.MODEL.BACKBONE.NORM,
            "semantic": cfg.MODEL.LOSS.SEMANTIC_WEIGHT > 0,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """Classes and masks; in training also auxiliary logits and embeddings of the pixels.

        The network reads padding as image, as the official code does.
        """
        features = self.backbone(images)
        masks, pixels = self.mask_head(features["panoptic"], features["mask_memory"])
        logits = self.class_head(features["class_memory"])
        queries = QueryOutputs(logits=[logits], masks=[masks], mask_kind=SOFTMAX)
        if not self.training:
            return SegmenterOutputs({"queries": queries})
        semantic = [] if self.semantic_head is None else [self.semantic_head(features)]
        return SegmenterOutputs({"queries": queries}, semantic, pixels)

    def class_rows(self, classes: Classes) -> dict[str, list[int]]:
        ids = [*range(classes.num_classes), NO_OBJECT]
        return {"class_head": ids, "semantic_head.head.last": ids}

    def losses(self, images: ImageBatch, targets: list[Targets]) -> dict[str, Tensor]:
        outputs = self.predict(images.tensor, images.padding)
        matches = self.criterion.match(outputs, targets)
        masks = outputs.queries["queries"].masks[-1]
        log_mask_id_accuracy(masks, matches, targets, self.mask_stride)
        return self.criterion(outputs, targets, matches)

"""Version 1 of Panoptic SegFormer (arXiv 2109.03814v1)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...classes import Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ...layers import prior_bias
from ...utils.checks import check_at_least
from ..criterion import (
    HungarianMatcher,
    SetCriterion,
    Targets,
    mean_segments,
)
from ..outputs import QueryOutputs, SegmenterOutputs
from ..pixel_decoder import DeformablePixelDecoder, PixelFeatures
from ..transformer_decoder import LocationDecoder, MaskDecoder
from ..transformer_decoder.mask_attention import select_queries
from .best_pairs import best_pairs
from .preprocessing import ImageBatch
from .psformer_parts import (
    LEARNED_MASKS,
    MATCHED_MASKS,
    build_location_decoder,
    loss_terms,
    mask_decoder_node,
    mask_decoder_options,
)
from .segmenter import Segmenter, config_node, shared_parts
from .training_metrics import log_matched_segments


@META_ARCH_REGISTRY.register()
class PanopticSegFormerV1(Segmenter):
    """One set of queries for things and stuff, classified by the mask decoder.

    The location decoder learns centre of mass and size, without refining them. The queries attend
    to each other in the mask decoder, so all of them are decoded, in inference too. One match, by
    class, place and mask, serves all layers.
    """

    @configurable
    def __init__(
        self,
        *,
        pixel_decoder: DeformablePixelDecoder,
        location_decoder: LocationDecoder,
        mask_decoder: MaskDecoder,
        criterion: SetCriterion,
        dim: int = 256,
        class_prior: float = 0.01,
        topk: int = 100,
        **shared,
    ):
        """
        Args:
            class_prior: class probability before training.
            topk: (query, class) pairs that are postprocessed.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        with config_node("MODEL.PSFORMER"):
            check_at_least(1, topk=topk)
        self.pixel_decoder = pixel_decoder
        self.location_decoder = location_decoder
        self.mask_decoder = mask_decoder
        self.criterion = criterion
        self.topk = topk
        class_ids = self.classes.thing_ids + self.classes.stuff_ids
        self.register_buffer("class_ids", torch.tensor(class_ids), persistent=False)
        # One classifier serves all blocks, so that inference may stop after any of them.
        self.class_embed = nn.Linear(dim, len(class_ids))
        nn.init.constant_(self.class_embed.bias, prior_bias(class_prior))

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared, node = shared_parts(cfg), cfg.MODEL.PSFORMER
        features = shared["backbone"].output_shape()
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = DeformablePixelDecoder(cfg, features)
        with mask_decoder_node("THING_MASK_LAYERS"):
            check_at_least(1, layers=node.THING_MASK_LAYERS)  # blocks classify
            mask_decoder = MaskDecoder(
                layers=node.THING_MASK_LAYERS, self_attention=True, **mask_decoder_options(cfg)
            )
        _, classes, boxes, _, dice = loss_terms(cfg)
        terms = (classes, boxes, dice)
        return {
            **shared,
            "pixel_decoder": pixel_decoder,
            "location_decoder": build_location_decoder(cfg, num_classes=0, refine=False),
            "mask_decoder": mask_decoder,
            "criterion": SetCriterion(
                terms, HungarianMatcher(terms, MATCHED_MASKS), match="last", masks=LEARNED_MASKS
            ),
            "mask_stride": features[pixel_decoder.in_features[0]].stride,
            "dim": cfg.MODEL.PIXEL_DECODER.DIM,
            "class_prior": node.CLASS_PRIOR,
            "topk": node.TOPK,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """The masks of the best (query, class) pairs."""
        features = self.pixel_decoder(self.backbone(images), padding)
        outputs = self._decode(features, every_layer=False)
        best = best_pairs(outputs.logits[-1], self.topk, self.class_ids)
        masks = select_queries(outputs.masks[-1].flatten(2), best.query_index)
        masks = masks.unflatten(-1, outputs.masks[-1].shape[-2:])
        return SegmenterOutputs({"segments": replace(best, masks=[masks])})

    def class_rows(self, classes: Classes) -> dict[str, tuple[int, ...]]:
        return {"class_embed": classes.thing_ids + classes.stuff_ids}

    def losses(self, images: ImageBatch, targets: list[Targets]) -> dict[str, Tensor]:
        """One match of all segments, by the last layer, for the losses of all layers."""
        features = self.pixel_decoder(self.backbone(images.tensor), images.padding)
        outputs = self._decode(features)
        targets = [with_centres_of_mass(t.of_classes(self.class_ids)) for t in targets]
        matches = self.criterion.match(outputs, targets)
        last = [outputs.of_image(image) for image in range(len(targets))]
        log_matched_segments(last, matches[0], targets)
        return self.criterion(outputs, targets, len(targets) * mean_segments(targets), matches)

    def _decode(self, features: PixelFeatures, every_layer: bool = True) -> QueryOutputs:
        queries, located = self.location_decoder(features)
        masks, queries = self.mask_decoder(queries, features, every_layer=every_layer)
        return replace(located, logits=[self.class_embed(q) for q in queries], masks=masks)


def with_centres_of_mass(targets: Targets) -> Targets:
    """Boxes whose centre is the centre of mass of the mask, as version 1 locates segments."""
    rows, columns = targets.masks.sum(2).float(), targets.masks.sum(1).float()
    area = rows.sum(1).clamp(min=1)
    height, width = targets.image_size
    centre_x, centre_y = (
        # A sum rather than a matrix product, which autocast would run in half precision.
        (cells * (torch.arange(cells.shape[1], device=cells.device) + 0.5)).sum(1) / area / side
        for cells, side in ((columns, width), (rows, height))
    )
    centres = torch.stack([centre_x, centre_y], dim=-1)
    return replace(targets, boxes=torch.cat([centres, targets.boxes[:, 2:]], dim=-1))

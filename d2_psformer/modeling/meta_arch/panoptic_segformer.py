"""Panoptic SegFormer (Li et al., CVPR 2022, arXiv 2109.03814)."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...classes import Classes
from ...d2.config import configurable
from ...d2.modeling import META_ARCH_REGISTRY
from ...utils.checks import check_at_least
from ..criterion import HungarianMatcher, Match, SetCriterion, Targets, mean_segments
from ..outputs import LayerOutputs, QueryOutputs, SegmenterOutputs
from ..pixel_decoder import DeformablePixelDecoder, PixelFeatures
from ..transformer_decoder import LocationDecoder, MaskDecoder, StuffDecoder
from ..transformer_decoder.mask_attention import select_queries
from .best_pairs import best_pairs, one_mask_per_query
from .preprocessing import ImageBatch
from .psformer_parts import (
    build_location_decoder,
    criteria,
    mask_decoder_node,
    mask_decoder_options,
)
from .segmenter import Segmenter, config_node, shared_parts
from .training_metrics import log_matched_segments


@META_ARCH_REGISTRY.register()
class PanopticSegFormer(Segmenter):
    """Things are located, then masked; stuff has queries of its own (query decoupling).

    The location decoder gives thing queries a class and a box. The queries that matter, those that
    are matched in training and those of the best classes in inference, go to the mask decoder. Data
    with things alone, or with stuff alone, has no decoder for the other kind.
    """

    @configurable
    def __init__(
        self,
        *,
        pixel_decoder: DeformablePixelDecoder,
        location_decoder: LocationDecoder | None,
        thing_mask_decoder: MaskDecoder | None,
        stuff_decoder: StuffDecoder | None,
        location_criterion: SetCriterion,
        mask_matcher: HungarianMatcher,
        mask_criterion: SetCriterion,
        stuff_criterion: SetCriterion,
        thing_ids: tuple[int, ...],
        query_decoupling: bool = True,
        topk: int = 100,
        **shared,
    ):
        """
        Args:
            location_decoder, thing_mask_decoder: both, or neither where there are no things.
            stuff_decoder: None where there is no stuff, or its queries are matched like things'.
            mask_matcher: pairs the matched queries once more, now with their masks.
            thing_ids: contiguous ids of the classes of the location decoder.
            query_decoupling: stuff, if there is any, has a decoder of its own.
            topk: (query, class) pairs that get a mask in inference.
            shared: arguments of :class:`Segmenter`.
        """
        super().__init__(**shared)
        with config_node("MODEL.PSFORMER"):
            check_at_least(1, topk=topk)
        self.pixel_decoder = pixel_decoder
        self.location_decoder = location_decoder
        self.thing_mask_decoder = thing_mask_decoder
        self.stuff_decoder = stuff_decoder
        self.location_criterion, self.mask_matcher = location_criterion, mask_matcher
        self.mask_criterion, self.stuff_criterion = mask_criterion, stuff_criterion
        self.topk, self.query_decoupling = topk, query_decoupling
        self.register_buffer("thing_ids", torch.tensor(thing_ids), persistent=False)

    @classmethod
    def from_config(cls, cfg) -> dict:
        shared = shared_parts(cfg)
        classes, features = shared["classes"], shared["backbone"].output_shape()
        node = cfg.MODEL.PSFORMER
        thing_ids, stuff_ids = _ids_of_kinds(classes, node.QUERY_DECOUPLING)
        with config_node("MODEL.PIXEL_DECODER"):
            pixel_decoder = DeformablePixelDecoder(cfg, features)
        location_decoder = thing_mask_decoder = stuff_decoder = None
        options = mask_decoder_options(cfg)
        if thing_ids:
            location_decoder = build_location_decoder(cfg, num_classes=len(thing_ids))
            with mask_decoder_node("THING_MASK_LAYERS"):
                thing_mask_decoder = MaskDecoder(layers=node.THING_MASK_LAYERS, **options)
        if stuff_ids:
            options |= {"class_ids": stuff_ids, "class_prior": node.CLASS_PRIOR}
            with mask_decoder_node("STUFF_MASK_LAYERS"):
                stuff_decoder = StuffDecoder(layers=node.STUFF_MASK_LAYERS, **options)
        return {
            **shared,
            **criteria(cfg),
            "pixel_decoder": pixel_decoder,
            "location_decoder": location_decoder,
            "thing_mask_decoder": thing_mask_decoder,
            "stuff_decoder": stuff_decoder,
            "mask_stride": features[pixel_decoder.in_features[0]].stride,
            "thing_ids": thing_ids,
            "query_decoupling": node.QUERY_DECOUPLING,
            "topk": node.TOPK,
        }

    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """The masks of the best (query, class) pairs of things, and of every stuff class."""
        features = self.pixel_decoder(self.backbone(images), padding)
        outputs = {}
        if self.location_decoder is not None:
            queries, located = self.location_decoder(features)
            best = best_pairs(located.logits[-1], self.topk, self.thing_ids)
            queries = select_queries(queries, best.query_index)
            masks, _ = self.thing_mask_decoder(queries, features, every_layer=False)
            masks = [one_mask_per_query(x, best.query_index) for x in masks]
            outputs["things"] = replace(best, masks=masks)
        if self.stuff_decoder is not None:
            outputs["stuff"] = self.stuff_decoder(features, every_layer=False)
        return SegmenterOutputs(outputs)

    def class_rows(self, classes: Classes) -> dict[str, tuple[int, ...]]:
        thing_ids, stuff_ids = _ids_of_kinds(classes, self.query_decoupling)
        return {"location_decoder.class_embed": thing_ids, "stuff_decoder.query_embed": stuff_ids}

    def losses(self, images: ImageBatch, targets: list[Targets]) -> dict[str, Tensor]:
        """Losses of things and of stuff (section 3.5)."""
        features = self.pixel_decoder(self.backbone(images.tensor), images.padding)
        kinds = {}
        if self.location_decoder is not None:
            kinds[self._thing_losses] = [t.of_classes(self.thing_ids) for t in targets]
        if self.stuff_decoder is not None:
            stuff_ids = self.stuff_decoder.class_ids
            kinds[self._stuff_losses] = [t.of_classes(stuff_ids) for t in targets]
        # Either kind is weighed by its share of all segments, so that every segment counts alike.
        num_segments = len(targets) * sum(map(mean_segments, kinds.values()))
        losses = {}
        for losses_of_kind, segments in kinds.items():
            losses |= losses_of_kind(features, segments, num_segments)
        return losses

    def _thing_losses(
        self, features: PixelFeatures, targets: list[Targets], num_segments: Tensor
    ) -> dict[str, Tensor]:
        """Queries are matched in every layer; those of the last match are matched with masks."""
        queries, located = self.location_decoder(features)
        matches = self.location_criterion.match(located, targets)
        rows = [matched for matched, _ in matches[-1]]
        matched = pad_sequence([queries[i, row] for i, row in enumerate(rows)], batch_first=True)
        if matched.shape[1] == 0:
            # Without things one query keeps the decoder in the graph, at no loss.
            matched = queries[:, :1]
        masks, _ = self.thing_mask_decoder(matched, features)
        decoded = [
            LayerOutputs(
                logits=located.logits[-1][i, row],
                boxes=located.boxes[-1][i, row],
                masks=masks[-1][i, : len(row)],
            )
            for i, row in enumerate(rows)
        ]
        pairs = self.mask_matcher(decoded, targets)
        log_matched_segments(decoded, pairs, targets)
        losses = self.location_criterion(located, targets, num_segments, matches)
        masks = QueryOutputs(masks=masks)
        return losses | self.mask_criterion(masks, targets, num_segments, [pairs])

    def _stuff_losses(
        self, features: PixelFeatures, targets: list[Targets], num_segments: Tensor
    ) -> dict[str, Tensor]:
        """Query k is matched with class k; masks are learned where the class is present."""
        present = [t.classes for t in targets]
        # Absent classes get no masks; one class at least does, so that every weight is used.
        rows = pad_sequence([*present, present[0].new_zeros(1)], batch_first=True)[:-1]
        stuff = self.stuff_decoder(features, mask_rows=rows)
        order = [torch.arange(len(classes), device=classes.device) for classes in present]
        # A stuff query has one class only, the first.
        targets = [replace(t, classes=torch.zeros_like(t.classes)) for t in targets]
        losses = self.stuff_criterion(
            QueryOutputs(logits=stuff.logits), targets, num_segments, [_pair(present, order)]
        )
        masks = QueryOutputs(masks=stuff.masks)
        return losses | self.stuff_criterion(masks, targets, num_segments, [_pair(order, order)])


def _ids_of_kinds(classes: Classes, decoupled: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Classes of the location decoder and of the stuff decoder."""
    if decoupled:
        return classes.thing_ids, classes.stuff_ids
    return classes.thing_ids + classes.stuff_ids, ()


def _pair(queries: list[Tensor], segments: list[Tensor]) -> list[Match]:
    return list(zip(queries, segments, strict=True))

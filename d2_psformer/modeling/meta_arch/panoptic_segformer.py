"""Panoptic SegFormer (Li et al., CVPR 2022, arXiv 2109.03814)."""

import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...classes import Classes
from ...d2.config import configurable
from ...d2.data import MetadataCatalog
from ...d2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from ..criterion import PanopticCriterion
from ..outputs import Predictions, ResultBuilder
from ..pixel_decoder import DeformablePixelDecoder, Memory
from ..resized_masks import ResizedMasks
from ..targets import Targets, all_as_things, prepare_targets, with_centres_of_mass
from ..transformer_decoder import (
    LearnedQueries,
    LocationDecoder,
    Locations,
    MaskDecoder,
    StuffDecoder,
    build_decoders,
)
from ..variants import check_backbone, check_variant
from .image_batch import ImageBatch, ImageNormalizer
from .matched_queries import ClassifyThenMask, MaskThenClassify, MatchedQueries


@META_ARCH_REGISTRY.register()
class PanopticSegFormer(nn.Module):
    """Backbone -> pixel decoder -> location decoder -> mask decoders of things and of stuff.

    Data with things only, or stuff only, has no decoder for the other kind. Without query
    decoupling there is no stuff decoder: the queries of things are those of all classes.
    """

    @configurable
    def __init__(
        self,
        *,
        normalizer: ImageNormalizer,
        backbone: Backbone,
        pixel_decoder: DeformablePixelDecoder,
        location_decoder: LocationDecoder | LearnedQueries | None,
        thing_mask_decoder: MaskDecoder | None,
        stuff_decoder: StuffDecoder | None,
        matched_queries: MatchedQueries,
        criterion: PanopticCriterion,
        results: ResultBuilder,
        class_layout: Classes,
        centres_of_mass: bool = False,
        autocast: torch.dtype | None = None,
        compiled: bool = False,
    ):
        """
        Args:
            location_decoder, thing_mask_decoder: both, or neither where there are no things.
            stuff_decoder: None where there is no stuff, or its queries are matched like things'.
            matched_queries: what is done with the queries of the location decoder.
            centres_of_mass: they learn these in place of the centres of boxes.
            autocast: half-precision type for inference.
            compiled: run backbone, pixel decoder and decoders through torch.compile.
        """
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.location_decoder = location_decoder
        self.thing_mask_decoder = thing_mask_decoder
        self.stuff_decoder = stuff_decoder
        self.matched_queries = matched_queries
        self.criterion = criterion
        self.results = results
        self.class_layout = class_layout
        self.centres_of_mass = centres_of_mass
        self.autocast = autocast
        if compiled:
            for part in (backbone, pixel_decoder, *self._decoders()):
                part.compile(fullgraph=True)
        # contiguous ids of the classes of matched queries, things before stuff
        self.matched_ids = class_layout.thing_ids
        if stuff_decoder is None:
            self.matched_ids += class_layout.stuff_ids
        self.mask_stride = backbone.output_shape()[pixel_decoder.in_features[0]].stride

    @classmethod
    def from_config(cls, cfg) -> dict:
        node = cfg.MODEL.PSFORMER
        layout = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        check_variant(node, layout)
        check_backbone(cfg.MODEL)
        backbone = build_backbone(cfg)
        criterion = PanopticCriterion.from_config(cfg, layout)
        matched_queries = ClassifyThenMask if node.CLASSIFY == "location" else MaskThenClassify
        return {
            "normalizer": ImageNormalizer(
                cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, backbone.size_divisibility
            ),
            "backbone": backbone,
            **build_decoders(cfg, layout),
            "pixel_decoder": DeformablePixelDecoder(cfg, backbone.output_shape()),
            "matched_queries": matched_queries(criterion, node.TEST.TOPK),
            "criterion": criterion,
            "results": ResultBuilder.from_config(cfg, layout),
            "class_layout": layout,
            "centres_of_mass": node.LOCATION_SUPERVISION == "centre",
            "autocast": getattr(torch, node.TEST.AUTOCAST) if node.TEST.AUTOCAST else None,
            "compiled": node.COMPILE,
        }

    @property
    def device(self) -> torch.device:
        return self.normalizer.mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """
        Args:
            batched_inputs: Detectron2's dicts: ``image`` (3, H, W); in training ``instances`` with
                gt_classes, gt_boxes, gt_masks of all segments; for inference ``height`` and
                ``width`` of the wanted output (default: the image's).

        Returns:
            In training the weighted losses by name. Else for each image a dict with, as switched
            on, ``panoptic_seg``, ``sem_seg`` (K, H, W), ``instances``.
        """
        images = self.normalizer([x["image"] for x in batched_inputs])
        if self.training:
            memory, locations = self._locate(images)
            return self.losses(memory, locations, self._targets(batched_inputs, images))
        outer = nullcontext()
        if self.autocast is not None:
            outer = torch.autocast(self.device.type, self.autocast)
        with outer:
            memory, locations = self._locate(images)
            return self.inference(memory, locations, images, batched_inputs)

    def _decoders(self) -> list[nn.Module]:
        decoders = self.location_decoder, self.thing_mask_decoder, self.stuff_decoder
        return [decoder for decoder in decoders if decoder is not None]

    def _locate(self, images: ImageBatch) -> tuple[Memory, Locations | None]:
        features = self.backbone(images.tensor)
        memory = self.pixel_decoder(features, images.padding_mask)
        return memory, self.location_decoder(memory) if self.location_decoder else None

    def losses(
        self, memory: Memory, locations: Locations | None, targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Losses of things and of stuff, weighed by the share of each kind."""
        thing_factor, stuff_factor = self.criterion.balance(targets, memory.tokens.device)
        losses = {}
        if locations is not None:
            things = self.matched_queries.losses(
                self.thing_mask_decoder, memory, locations, targets
            )
            losses |= {name: loss * thing_factor for name, loss in things.items()}
        if self.stuff_decoder is not None:
            stuff = self._stuff_losses(memory, targets)
            losses |= {name: loss * stuff_factor for name, loss in stuff.items()}
        return losses

    def _stuff_losses(self, memory: Memory, targets: list[Targets]) -> dict[str, Tensor]:
        """Query k is matched with class k; masks are learned where the class is present."""
        present = [t.stuff_classes for t in targets]
        # no masks of absent classes; of one at least, so that every parameter has a gradient
        rows = pad_sequence([*present, present[0].new_zeros(1)], batch_first=True)[:-1]
        stuff = self.stuff_decoder(memory, rows=rows)
        predicted = [
            torch.cat([block[i, : len(classes)] for i, classes in enumerate(present)])
            for block in stuff.masks
        ]
        truth = [t.stuff_masks for t in targets]
        losses = self.criterion.stuff_class_losses(stuff.logits, targets)
        return losses | self.criterion.mask_losses("loss_stuff_mask", predicted, truth)

    def inference(
        self,
        memory: Memory,
        locations: Locations | None,
        images: ImageBatch,
        batched_inputs: list[dict],
    ) -> list[dict]:
        """Candidates of every image at its wanted size, merged into results."""
        matched = stuff = None
        if locations is not None:
            matched = self.matched_queries.candidates(self.thing_mask_decoder, memory, locations)
        if self.stuff_decoder is not None:
            stuff = self.stuff_decoder(memory, every_mask=False)
        results = []
        for i, (inputs, valid) in enumerate(zip(batched_inputs, images.sizes, strict=True)):
            masks, scores, classes, is_thing, queries = [], [], [], [], []
            if matched is not None:
                masks.append(matched[i].masks)
                scores.append(matched[i].scores)
                classes.append(self._contiguous(self.matched_ids)[matched[i].classes])
                is_thing.append(matched[i].classes < self.class_layout.num_things)
                queries.append(matched[i].queries)
            if stuff is not None:
                masks.append(stuff.masks[-1][i])
                scores.append(stuff.logits[-1, i].sigmoid())
                classes.append(self._contiguous(self.class_layout.stuff_ids))
                is_thing.append(torch.zeros_like(classes[-1], dtype=torch.bool))
                queries.append(torch.arange(len(classes[-1]), device=self.device))
            small_masks, class_scores = torch.cat(masks), torch.cat(scores).float()
            wanted = self.results.wanted(small_masks, class_scores)
            size = (inputs.get("height", valid[0]), inputs.get("width", valid[1]))
            predictions = Predictions(
                masks=self._to_image(small_masks[wanted], valid, size),
                scores=class_scores[wanted],
                classes=torch.cat(classes)[wanted],
                is_thing=torch.cat(is_thing)[wanted],
                queries=torch.cat(queries)[wanted],
            )
            results.append(self.results(predictions))
        return results

    def _to_image(
        self, masks: Tensor, valid: tuple[int, int], size: tuple[int, int]
    ) -> ResizedMasks:
        """Masks (N, h, w) on the padded canvas -> those of the image alone, at its wanted size."""
        rows, columns = (math.ceil(side / self.mask_stride) for side in valid)
        return ResizedMasks(masks[:, :rows, :columns], size)

    def _contiguous(self, ids: tuple[int, ...]) -> Tensor:
        return torch.tensor(ids, device=self.device)

    def _targets(self, batched_inputs: list[dict], images: ImageBatch) -> list[Targets]:
        canvas = tuple(images.tensor.shape[-2:])
        targets = [
            prepare_targets(x["instances"].to(self.device), self.class_layout, canvas)
            for x in batched_inputs
        ]
        if self.stuff_decoder is None:
            targets = [all_as_things(t, self.class_layout.num_things) for t in targets]
        if self.centres_of_mass:
            targets = [with_centres_of_mass(t) for t in targets]
        return targets

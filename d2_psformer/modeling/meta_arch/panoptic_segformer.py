"""Panoptic SegFormer (Li et al., CVPR 2022, arXiv 2109.03814)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ...class_layout import ClassLayout
from ...d2.config import configurable
from ...d2.data import MetadataCatalog
from ...d2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from ..criterion import PanopticCriterion, resize_masks
from ..outputs import Predictions, ResultBuilder
from ..pixel_decoder import DeformablePixelDecoder, Memory
from ..targets import Targets, prepare_targets
from ..transformer_decoder import LocationDecoder, Locations, MaskDecoder, StuffDecoder
from .image_batch import ImageBatch, ImageNormalizer
from .training_metrics import log_matched_pairs


@META_ARCH_REGISTRY.register()
class PanopticSegFormer(nn.Module):
    """Backbone -> pixel decoder -> location decoder -> mask decoders of things and of stuff.

    Data with things only, or stuff only, has no decoder for the other kind.
    """

    @configurable
    def __init__(
        self,
        *,
        normalizer: ImageNormalizer,
        backbone: Backbone,
        pixel_decoder: DeformablePixelDecoder,
        location_decoder: LocationDecoder | None,
        thing_mask_decoder: MaskDecoder | None,
        stuff_decoder: StuffDecoder | None,
        criterion: PanopticCriterion,
        results: ResultBuilder,
        class_layout: ClassLayout,
        topk: int = 100,
    ):
        """
        Args:
            location_decoder, thing_mask_decoder: both, or neither where there are no things.
            stuff_decoder: None where there is no stuff.
            topk: (query, class) pairs that become thing candidates at inference.
        """
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder
        self.location_decoder = location_decoder
        self.thing_mask_decoder = thing_mask_decoder
        self.stuff_decoder = stuff_decoder
        self.criterion = criterion
        self.results = results
        self.class_layout = class_layout
        self.topk = topk
        self.mask_stride = backbone.output_shape()[pixel_decoder.in_features[0]].stride

    @classmethod
    def from_config(cls, cfg) -> dict:
        node = cfg.MODEL.PSFORMER
        _check_counts(node)
        layout = ClassLayout.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
        backbone = build_backbone(cfg)
        location_decoder = thing_mask_decoder = stuff_decoder = None
        if layout.num_things:
            location_decoder = LocationDecoder(cfg, layout.num_things)
            thing_mask_decoder = MaskDecoder(
                dim=node.HIDDEN_DIM,
                num_heads=node.NUM_HEADS,
                num_layers=node.THING_MASK_LAYERS,
                num_levels=len(node.IN_FEATURES),
            )
        if layout.num_stuff:
            stuff_decoder = StuffDecoder(cfg, layout.num_stuff)
        return {
            "normalizer": ImageNormalizer(
                cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, backbone.size_divisibility
            ),
            "backbone": backbone,
            "pixel_decoder": DeformablePixelDecoder(cfg, backbone.output_shape()),
            "location_decoder": location_decoder,
            "thing_mask_decoder": thing_mask_decoder,
            "stuff_decoder": stuff_decoder,
            "criterion": PanopticCriterion.from_config(cfg, layout),
            "results": ResultBuilder.from_config(cfg, layout),
            "class_layout": layout,
            "topk": node.TEST.TOPK,
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
        features = self.backbone(images.tensor)
        memory = self.pixel_decoder(features, images.padding_mask)
        locations = self.location_decoder(memory) if self.location_decoder else None
        if self.training:
            return self.losses(memory, locations, self._targets(batched_inputs, images))
        return self.inference(memory, locations, images, batched_inputs)

    def losses(
        self, memory: Memory, locations: Locations | None, targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Losses of things and of stuff, weighed by the share of each kind."""
        thing_factor, stuff_factor = self.criterion.balance(targets, memory.tokens.device)
        losses = {}
        if locations is not None:
            things = self._thing_losses(memory, locations, targets)
            losses |= {name: loss * thing_factor for name, loss in things.items()}
        if self.stuff_decoder is not None:
            stuff = self._stuff_losses(memory, targets)
            losses |= {name: loss * stuff_factor for name, loss in stuff.items()}
        return losses

    def _thing_losses(
        self, memory: Memory, locations: Locations, targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Only queries that the last layer matched go on to the mask decoder."""
        matches = self.criterion.match(locations, targets)
        matched = [query for query, _ in matches[-1]]
        queries = pad_sequence(
            [locations.queries[-1, i, query] for i, query in enumerate(matched)], batch_first=True
        )
        if queries.shape[1] == 0:
            # an image without things: one query keeps the decoder in the graph, at no loss
            queries = locations.queries[-1, :, :1]
        masks, _ = self.thing_mask_decoder(queries, memory)
        pairs = self.criterion.rematch_with_masks(locations, masks[-1], matches[-1], targets)
        predicted = [
            torch.cat([block[i, rows] for i, (rows, _) in enumerate(pairs)]) for block in masks
        ]
        truth = [t.thing_masks[things] for t, (_, things) in zip(targets, pairs, strict=True)]
        losses = self.criterion.location_losses(locations, matches, targets)
        losses |= self.criterion.mask_losses("loss_thing_mask", predicted, truth)
        log_matched_pairs(locations, matches[-1], targets, predicted[-1], truth)
        return losses

    def _stuff_losses(self, memory: Memory, targets: list[Targets]) -> dict[str, Tensor]:
        """Query k is matched with class k; masks are learned where the class is present."""
        stuff = self.stuff_decoder(memory)
        predicted = [
            torch.cat([block[i, t.stuff_classes] for i, t in enumerate(targets)])
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
        stuff = self.stuff_decoder(memory, every_mask=False) if self.stuff_decoder else None
        results = []
        for i, (inputs, valid) in enumerate(zip(batched_inputs, images.sizes, strict=True)):
            masks, scores, classes, is_thing, queries = [], [], [], [], []
            if locations is not None:
                thing_masks, thing_scores, thing_classes, thing_queries = self._thing_candidates(
                    memory.image(i), locations.queries[-1, i], locations.logits[-1, i]
                )
                masks.append(thing_masks)
                scores.append(thing_scores)
                classes.append(self._contiguous(self.class_layout.thing_ids)[thing_classes])
                is_thing.append(torch.ones_like(thing_classes, dtype=torch.bool))
                queries.append(thing_queries)
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

    def _thing_candidates(
        self, memory: Memory, queries: Tensor, logits: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Best (query, class) pairs of one image: masks (K, h, w), scores, classes, queries."""
        flat = logits.sigmoid().flatten()
        scores, pairs = flat.topk(min(self.topk, len(flat)))
        classes = pairs % logits.shape[-1]
        # a query may be wanted with several classes, but it has one mask
        wanted = pairs // logits.shape[-1]
        distinct, row = wanted.unique(return_inverse=True)
        masks, _ = self.thing_mask_decoder(queries[None, distinct], memory, every_mask=False)
        return masks[-1][0, row], scores, classes, wanted

    def _to_image(self, masks: Tensor, valid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """(N, h, w) on the padded canvas -> (N, *size) of the image alone."""
        rows, columns = (math.ceil(side / self.mask_stride) for side in valid)
        return resize_masks(masks[:, :rows, :columns], size)

    def _contiguous(self, ids: tuple[int, ...]) -> Tensor:
        return torch.tensor(ids, device=self.device)

    def _targets(self, batched_inputs: list[dict], images: ImageBatch) -> list[Targets]:
        canvas = tuple(images.tensor.shape[-2:])
        return [
            prepare_targets(x["instances"].to(self.device), self.class_layout, canvas)
            for x in batched_inputs
        ]


def _check_counts(node) -> None:
    counts = {
        key: node[key]
        for key in ("HIDDEN_DIM", "NUM_HEADS", "NUM_POINTS", "NUM_QUERIES", "LOCATION_LAYERS")
    }
    # without a block of its own, stuff would have no class
    counts |= {"STUFF_MASK_LAYERS": node.STUFF_MASK_LAYERS, "TEST.TOPK": node.TEST.TOPK}
    for key, value in counts.items():
        if value < 1:
            raise ValueError(f"MODEL.PSFORMER.{key} is {value}: it must be at least 1.")

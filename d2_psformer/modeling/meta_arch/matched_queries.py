"""Queries that are matched bipartitely: of things, or without query decoupling of all classes.

The two ways differ in where a query gets its class, and therefore in which queries get a mask.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..criterion import PanopticCriterion
from ..pixel_decoder import Memory
from ..targets import Match, Targets
from ..transformer_decoder import ClassifyingMaskDecoder, Locations, MaskDecoder
from .training_metrics import log_matched_pairs


@dataclass(frozen=True)
class Candidates:
    """The best (query, class) pairs of one image.

    Attributes:
        masks: (K, h, w) >= 0, on the finest level.
        scores: (K,) class probability.
        classes: (K,) long, indices of the classifier.
        queries: (K,) long.
    """

    masks: Tensor
    scores: Tensor
    classes: Tensor
    queries: Tensor


class MatchedQueries(ABC):
    """
    Args:
        topk: (query, class) pairs that become candidates at inference.
    """

    def __init__(self, criterion: PanopticCriterion, topk: int):
        self.criterion, self.topk = criterion, topk

    @abstractmethod
    def losses(
        self, decoder: MaskDecoder, memory: Memory, locations: Locations, targets: list[Targets]
    ) -> dict[str, Tensor]:
        """Unweighted sums over the batch, by name."""

    @abstractmethod
    def candidates(
        self, decoder: MaskDecoder, memory: Memory, locations: Locations
    ) -> list[Candidates]:
        """Of every image."""

    def _best_pairs(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (Q, classes) -> scores, queries and classes (K,), the best first."""
        flat = logits.sigmoid().flatten()
        scores, pairs = flat.topk(min(self.topk, len(flat)))
        return scores, pairs // logits.shape[-1], pairs % logits.shape[-1]

    def _mask_losses(
        self,
        masks: list[Tensor],
        logits: Tensor,
        pairs: list[Match],
        matches: list[Match],
        targets: list[Targets],
    ) -> dict[str, Tensor]:
        """Of masks (B, N, h, w), a list with that of the tail last, and what a person may see.

        Args:
            logits: (B, Q, classes) of the last layer.
            pairs: rows of the masks and things, for each image.
            matches: queries and things, for each image.
        """
        predicted = [
            torch.cat([block[i, rows] for i, (rows, _) in enumerate(pairs)]) for block in masks
        ]
        truth = [t.thing_masks[things] for t, (_, things) in zip(targets, pairs, strict=True)]
        log_matched_pairs(logits, matches, targets, predicted[-1], truth)
        return self.criterion.mask_losses("loss_thing_mask", predicted, truth)


class ClassifyThenMask(MatchedQueries):
    """The location decoder classifies: only the queries that matter go to the mask decoder.

    In training these are the ones that its last layer matched, at inference those of the best
    pairs; mask blocks have no self-attention, so that it makes no difference which others go along.
    """

    def losses(
        self, decoder: MaskDecoder, memory: Memory, locations: Locations, targets: list[Targets]
    ) -> dict[str, Tensor]:
        matches = self.criterion.match(locations, targets)
        matched = [query for query, _ in matches[-1]]
        queries = pad_sequence(
            [locations.queries[-1, i, query] for i, query in enumerate(matched)], batch_first=True
        )
        if queries.shape[1] == 0:
            # an image without things: one query keeps the decoder in the graph, at no loss
            queries = locations.queries[-1, :, :1]
        masks, _ = decoder(queries, memory)
        pairs = self.criterion.rematch_with_masks(locations, masks[-1], matches[-1], targets)
        losses = self.criterion.location_losses(locations, matches, targets)
        return losses | self._mask_losses(masks, locations.logits[-1], pairs, matches[-1], targets)

    def candidates(
        self, decoder: MaskDecoder, memory: Memory, locations: Locations
    ) -> list[Candidates]:
        found = []
        for image, logits in enumerate(locations.logits[-1]):
            scores, queries, classes = self._best_pairs(logits)
            # a query may be wanted with several classes, but it has one mask
            distinct, row = queries.unique(return_inverse=True)
            chosen = locations.queries[-1, image, distinct]
            masks, _ = decoder(chosen[None], memory.image(image), every_mask=False)
            found.append(Candidates(masks[-1][0, row], scores, classes, queries))
        return found


class MaskThenClassify(MatchedQueries):
    """The mask decoder classifies what it has refined: all queries go there, and see each other.

    One match, by class, mask and location (where that is learned), serves all layers and blocks.
    """

    def losses(
        self,
        decoder: ClassifyingMaskDecoder,
        memory: Memory,
        locations: Locations,
        targets: list[Targets],
    ) -> dict[str, Tensor]:
        masks, queries = decoder(locations.queries[-1], memory, locations.position)
        logits = decoder.classify(queries)
        boxes = None if locations.boxes is None else locations.boxes[-1]
        matches = self.criterion.match_with_masks(logits[-1], boxes, masks[-1], targets)
        losses = self.criterion.class_losses(logits, matches, targets)
        every_layer = [matches] * len(locations.queries)
        losses |= self.criterion.location_losses(locations, every_layer, targets)
        return losses | self._mask_losses(masks, logits[-1], matches, matches, targets)

    def candidates(
        self, decoder: ClassifyingMaskDecoder, memory: Memory, locations: Locations
    ) -> list[Candidates]:
        masks, queries = decoder(
            locations.queries[-1], memory, locations.position, every_mask=False
        )
        logits = decoder.classify(queries[-1:])[0]
        found = []
        for image_masks, image_logits in zip(masks[-1], logits, strict=True):
            scores, chosen, classes = self._best_pairs(image_logits)
            found.append(Candidates(image_masks[chosen], scores, classes, chosen))
        return found

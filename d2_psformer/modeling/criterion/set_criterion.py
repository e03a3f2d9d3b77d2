"""The losses on matched sets of queries, in every supervised layer."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ...utils.checks import check_choice
from ..outputs import QueryOutputs
from .counts import total_segments
from .masks import DenseMasks, MaskSampler
from .matcher import FixedMatcher, HungarianMatcher, Match
from .targets import MatchedTargets, Targets
from .terms import Term


class SetCriterion:
    """Matches queries with segments and adds up the losses of the matched pairs.

    Args:
        terms: their losses, times their weights, are returned.
        matcher: makes the matches, unless they are given.
        match: "each_layer", or "last": one match by the last layer serves all.
        masks: how masks are sampled for the losses.
        prefix: is put before the name of every loss.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        matcher: HungarianMatcher | FixedMatcher | None = None,
        *,
        match: str = "each_layer",
        masks: MaskSampler | None = None,
        prefix: str = "",
    ):
        self.terms = tuple(terms)
        self.matcher = matcher
        check_choice(("each_layer", "last"), match=match)
        self.match_every_layer = match == "each_layer"
        self.masks = masks or DenseMasks()
        self.prefix = prefix

    def __call__(
        self,
        outputs: QueryOutputs,
        targets: list[Targets],
        num_segments: Tensor | float | None = None,
        matches: list[list[Match]] | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            num_segments: sums over the batch are divided by it; by default
                :func:`total_segments`.
            matches: of each layer and image, or of one layer for all of them; None to match here.

        Returns:
            weighted losses. The last layer's have the plain name of the term, the others end on
            the number of their layer, as in DETR.
        """
        matches = self.match(outputs, targets) if matches is None else matches
        if num_segments is None:
            num_segments = total_segments(targets)
        losses, matched = {}, None
        with torch.autocast(targets[0].boxes.device.type, enabled=False):
            for number in range(outputs.num_layers):
                if number < len(matches):
                    matched = self._matched(outputs, targets, matches[number])
                losses |= self._layer_losses(outputs, number, matched, num_segments)
        return losses

    def match(self, outputs: QueryOutputs, targets: list[Targets]) -> list[list[Match]]:
        """Matches of each layer and image; of the last layer alone with match="last"."""
        layers = range(outputs.num_layers)
        if not self.match_every_layer:
            layers = [-1]
        images = range(len(targets))
        flat = [outputs.of_image(image, layer) for layer in layers for image in images]
        matches = self.matcher(flat, targets * len(layers))
        return [matches[i : i + len(targets)] for i in range(0, len(matches), len(targets))]

    def _matched(
        self, outputs: QueryOutputs, targets: list[Targets], match: list[Match]
    ) -> MatchedTargets:
        """The segments of a match; their masks ready to be sampled."""
        prepare = None
        if outputs.masks:
            prepare = partial(self.masks.prepare, size=outputs.masks[-1].shape[-2:])
        return MatchedTargets.of(targets, match, prepare)

    def _layer_losses(
        self,
        outputs: QueryOutputs,
        number: int,
        matched: MatchedTargets,
        num_segments: Tensor | float,
    ) -> dict[str, Tensor]:
        """Weighted losses of one layer by their full names."""
        losses = {}
        for reads in ("logits", "boxes", "masks"):
            layers = getattr(outputs, reads)
            if number >= len(layers):
                continue
            predicted = layers[number].float()
            if reads != "logits":
                predicted = predicted[matched.images, matched.queries]
            pairs = [(predicted, matched)]
            if reads == "masks":
                pairs = matched.sample(predicted.split(matched.counts))
            for term in (term for term in self.terms if term.reads == reads):
                loss = term.weight * sum(term.loss(*pair) for pair in pairs)
                name = f"{self.prefix}{term.name}{layer_suffix(number, len(layers))}"
                losses[name] = loss / term.divisor(predicted, matched, num_segments)
        return losses


def layer_suffix(layer: int, num_layers: int) -> str:
    """ "" for the last layer, "_<layer>" for the others (DETR's names)."""
    return "" if layer == num_layers - 1 else f"_{layer}"

"""Mask decoder that classifies too (version 1 of the paper)."""

import torch
from torch import Tensor, nn

from ...layers import prior_bias
from .mask_decoder import MaskDecoder


class ClassifyingMaskDecoder(MaskDecoder):
    """Queries see each other, and what a block has made of them is classified.

    One classifier serves all blocks, so that inference may stop after any of them.

    Args:
        num_classes: of the classifier.
        class_prior: class probability before training.
        options: of :class:`MaskDecoder`.
    """

    def __init__(self, *, num_classes: int, class_prior: float = 0.01, dim: int = 256, **options):
        super().__init__(dim=dim, self_attention=True, **options)
        self.class_embed = nn.Linear(dim, num_classes)
        nn.init.constant_(self.class_embed.bias, prior_bias(class_prior))

    def classify(self, queries: list[Tensor]) -> Tensor:
        """Queries (B, N, dim) after every block -> logits (blocks, B, N, classes)."""
        return self.class_embed(torch.stack(queries))

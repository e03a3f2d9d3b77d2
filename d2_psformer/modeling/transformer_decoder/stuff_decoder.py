"""Stuff decoder: one learned query a class (query decoupling; Panoptic SegFormer, sec. 3.4)."""

import torch
from torch import Tensor, nn

from ...layers import prior_bias
from ...utils.checks import check_at_least, check_between
from ..outputs import SCORE, QueryOutputs
from ..pixel_decoder import PixelFeatures
from .mask_decoder import MaskDecoder


class StuffDecoder(nn.Module):
    """Query k stands for stuff class k, in training and in inference.

    Args:
        class_ids: contiguous ids of the stuff classes.
        class_prior: probability of a class's presence before training.
        mask_options: further arguments of :class:`MaskDecoder`.
    """

    def __init__(
        self,
        *,
        class_ids: tuple[int, ...],
        dim: int = 256,
        layers: int = 6,
        class_prior: float = 0.01,
        **mask_options,
    ):
        super().__init__()
        check_at_least(1, layers=layers)  # blocks classify
        check_between(0, 1, class_prior=class_prior)
        # First half content, second half position: the other way round than the thing queries.
        self.query_embed = nn.Embedding(len(class_ids), 2 * dim)
        self.mask_decoder = MaskDecoder(dim=dim, layers=layers, self_attention=True, **mask_options)
        self.class_embed = nn.ModuleList(nn.Linear(dim, 1) for _ in range(layers))
        for classify in self.class_embed:
            nn.init.constant_(classify.bias, prior_bias(class_prior))
        self.register_buffer("class_ids", torch.tensor(class_ids), persistent=False)

    def forward(
        self,
        features: PixelFeatures,
        *,
        every_layer: bool = True,
        mask_rows: Tensor | None = None,
    ) -> QueryOutputs:
        """
        Args:
            every_layer: make the masks of the blocks too, not only the last.
            mask_rows: (B, M) long, M >= 1: the classes that get masks; None for all.

        Returns:
            logits (B, classes, 1) of every block, for a sigmoid: is the class present?
            masks (B, M, H_1, W_1) >= 0 of every block (if asked for) and of the final attention.
        """
        batch = features.tokens.shape[0]
        content, position = self.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        masks, queries = self.mask_decoder(
            content, features, position, every_layer=every_layer, mask_rows=mask_rows
        )
        # After an early exit there are fewer queries than classifiers.
        logits = [head(query) for head, query in zip(self.class_embed, queries, strict=False)]
        classes = self.class_ids.expand(batch, -1)
        return QueryOutputs(logits=logits, masks=masks, classes=classes, mask_kind=SCORE)

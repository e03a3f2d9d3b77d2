"""Stuff: one learned query a class, whose mask and presence are decoded (query decoupling)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...layers import prior_bias
from ..pixel_decoder import Memory
from .mask_decoder import MaskDecoder, mask_decoder_options


@dataclass(frozen=True)
class StuffPredictions:
    """
    Attributes:
        logits: (blocks, B, classes), for a sigmoid: is the class present?
        masks: of every block (if asked for) and the tail, (B, classes, H_1, W_1) >= 0.
    """

    logits: Tensor
    masks: list[Tensor]


class StuffDecoder(nn.Module):
    """Fixed matching: query k stands for stuff class k, in training and in inference."""

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        dim: int = 256,
        num_layers: int = 6,
        class_prior: float = 0.01,
        **mask_options,
    ):
        """
        Args:
            class_prior: probability of a class's presence before training.
            mask_options: more of :class:`MaskDecoder`.
        """
        super().__init__()
        # first half content, second half position: the other way round than the thing queries
        self.query_embed = nn.Embedding(num_classes, 2 * dim)
        self.mask_decoder = MaskDecoder(
            dim=dim, num_layers=num_layers, self_attention=True, **mask_options
        )
        self.class_embed = nn.ModuleList(nn.Linear(dim, 1) for _ in range(num_layers))
        for classify in self.class_embed:
            nn.init.constant_(classify.bias, prior_bias(class_prior))

    @classmethod
    def from_config(cls, cfg, num_classes: int) -> dict:
        node = cfg.MODEL.PSFORMER
        return {
            "num_classes": num_classes,
            "class_prior": node.CLASS_PRIOR,
            **mask_decoder_options(node, node.STUFF_MASK_LAYERS),
        }

    def forward(self, memory: Memory, every_mask: bool = True) -> StuffPredictions:
        batch = memory.tokens.shape[0]
        content, position = self.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        masks, queries = self.mask_decoder(content, memory, position, every_mask)
        # after an early exit there are fewer queries than heads
        logits = [head(query) for head, query in zip(self.class_embed, queries, strict=False)]
        return StuffPredictions(torch.stack(logits).squeeze(-1), masks)

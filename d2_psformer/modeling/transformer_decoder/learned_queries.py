"""Queries without a location decoder, for the paper's ablation of it."""

from torch import nn

from ...d2.config import configurable
from ..pixel_decoder import Memory
from .location_decoder import Locations


class LearnedQueries(nn.Module):
    """Stands in for the location decoder: learned queries go straight to the mask decoder.

    Like the stuff queries they carry a learned position, the only thing that tells where they look.
    """

    @configurable
    def __init__(self, *, dim: int = 256, num_queries: int = 300):
        super().__init__()
        # first half content, second half position
        self.query_embed = nn.Embedding(num_queries, 2 * dim)

    @classmethod
    def from_config(cls, cfg) -> dict:
        node = cfg.MODEL.PSFORMER
        return {"dim": node.HIDDEN_DIM, "num_queries": node.NUM_QUERIES}

    def forward(self, memory: Memory) -> Locations:
        """Queries (1, B, Q, dim) and positions (B, Q, dim), without classes and places."""
        batch = memory.tokens.shape[0]
        content, position = self.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        return Locations(content[None], logits=None, boxes=None, position=position)

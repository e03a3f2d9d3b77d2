"""Location decoder: thing queries learn what and where (paper, section 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...layers import (
    MLP,
    FeedForward,
    MultiScaleDeformableAttention,
    inverse_sigmoid,
    prior_bias,
)
from ..pixel_decoder import Memory


@dataclass(frozen=True)
class Locations:
    """What the mask decoder starts from: output of every layer of the location decoder.

    Attributes:
        queries: (layers, B, Q, dim).
        logits: (layers, B, Q, classes), for a sigmoid; None where the mask decoder classifies.
        boxes: (layers, B, Q, 4) cx, cy, w, h, normalised to the valid image; cx, cy are the centre
            of mass where that is what is learned. None where nobody asks for them.
        position: (B, Q, dim), of queries that carry one into the mask decoder.
    """

    queries: Tensor
    logits: Tensor | None
    boxes: Tensor | None
    position: Tensor | None = None


class LocationDecoder(nn.Module):
    """Deformable DETR's decoder over learned thing queries, with iterative box refinement.

    Without refinement (supervision by centre and size, as in version 1 of the paper) every query
    keeps its first point of reference, so that centres and sizes are predicted to learn from and
    for nothing else: in evaluation mode they are left out.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        refine: bool = True,
        dim: int = 256,
        num_queries: int = 300,
        num_layers: int = 6,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        dim_feedforward: int = 1024,
        dropout: float = 0.1,
        reference_init: str = "learned",
        class_prior: float = 0.01,
        box_size_prior: float = 0.12,
    ):
        """
        Args:
            num_classes: thing classes; 0 where the mask decoder classifies.
            refine: predicted boxes are the next layer's references.
            reference_init: "learned", or "grid": the first points start on a regular grid.
            class_prior: class probability before training.
            box_size_prior: side of the first boxes before training, as a fraction of the image.
        """
        super().__init__()
        self.refine = refine
        # first half position, second half content
        self.query_embed = nn.Embedding(num_queries, 2 * dim)
        self.reference_points = nn.Linear(dim, 2)
        self.layers = nn.ModuleList(
            LocationLayer(dim, num_heads, num_levels, num_points, dim_feedforward, dropout)
            for _ in range(num_layers)
        )
        self.class_embed = nn.ModuleList(
            nn.Linear(dim, num_classes) for _ in range(num_layers if num_classes else 0)
        )
        self.box_embed = nn.ModuleList(MLP(dim, dim, 4, 3) for _ in range(num_layers))
        self._init_heads(class_prior, box_size_prior)
        self._init_references(reference_init)

    @classmethod
    def from_config(cls, cfg, num_classes: int) -> dict:
        node = cfg.MODEL.PSFORMER
        return {
            "num_classes": num_classes,
            "refine": node.LOCATION_SUPERVISION == "box",
            "dim": node.HIDDEN_DIM,
            "num_queries": node.NUM_QUERIES,
            "num_layers": node.LOCATION_LAYERS,
            "num_heads": node.NUM_HEADS,
            "num_levels": node.NUM_FEATURE_LEVELS,
            "num_points": node.NUM_POINTS,
            "dim_feedforward": node.DIM_FEEDFORWARD,
            "dropout": node.DROPOUT,
            "reference_init": node.REFERENCE_INIT,
            "class_prior": node.CLASS_PRIOR,
            "box_size_prior": node.BOX_SIZE_PRIOR,
        }

    def forward(self, memory: Memory) -> Locations:
        batch = memory.tokens.shape[0]
        position, query = self.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        reference = self.reference_points(position).sigmoid()
        queries, boxes = [], []
        for layer, regress in zip(self.layers, self.box_embed, strict=True):
            query = layer(query, position, reference, memory)
            queries.append(query)
            if self.refine or self.training:
                boxes.append(_refine(regress(query), reference))
            if self.refine:
                # gradients stop here, so that every layer learns its own step
                reference = boxes[-1].detach()
        logits = [classify(q) for classify, q in zip(self.class_embed, queries, strict=False)]
        return Locations(*(torch.stack(x) if x else None for x in (queries, logits, boxes)))

    def _init_heads(self, class_prior: float, box_size_prior: float) -> None:
        for classify in self.class_embed:
            nn.init.constant_(classify.bias, prior_bias(class_prior))
        for layer, regress in enumerate(self.box_embed):
            nn.init.zeros_(regress.layers[-1].weight)
            nn.init.zeros_(regress.layers[-1].bias)
            if layer == 0 or not self.refine:  # later boxes are steps from the first
                nn.init.constant_(regress.layers[-1].bias[2:], prior_bias(box_size_prior))

    def _init_references(self, how: str) -> None:
        nn.init.normal_(self.query_embed.weight)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        if how == "grid":
            _start_on_grid(self.query_embed.weight, self.reference_points)
        elif how != "learned":
            raise ValueError(f"MODEL.PSFORMER.REFERENCE_INIT is '{how}': use 'learned' or 'grid'.")


class LocationLayer(nn.Module):
    """Self-attention, deformable cross-attention and feed-forward, all post-norm."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
        dim_feedforward: int,
        dropout: float,
    ):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, num_heads, dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn = MultiScaleDeformableAttention(dim, num_heads, num_levels, num_points)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)
        self.dropout = nn.Dropout(dropout)
        for weight in (
            self.self_attn.out_proj.weight,
            self.ffn.linear1.weight,
            self.ffn.linear2.weight,
        ):
            nn.init.xavier_uniform_(weight)

    def forward(self, query: Tensor, position: Tensor, reference: Tensor, memory: Memory) -> Tensor:
        """query, position (B, Q, dim); reference (B, Q, 2 or 4) in the valid image."""
        located = query + position
        update, _ = self.self_attn(located, located, query, need_weights=False)
        query = self.norm1(query + self.dropout(update))
        # from the valid image to the padded canvas of every level
        ratios = memory.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
        update = self.cross_attn(
            query + position,
            reference[:, :, None] * ratios[:, None],
            memory.tokens,
            memory.spatial_shapes,
            memory.padding_mask,
        )
        query = self.norm2(query + self.dropout(update))
        return self.ffn(query)


def _refine(delta: Tensor, reference: Tensor) -> Tensor:
    """Move boxes (or points) by a step taken in logit space; (B, Q, 4) in [0, 1]."""
    known = inverse_sigmoid(reference.float())
    missing = 4 - known.shape[-1]
    return (delta.float() + nn.functional.pad(known, (0, missing))).sigmoid()


def _start_on_grid(query_embed: Tensor, reference_points: nn.Linear) -> None:
    """Shift the position codes along the rows of ``reference_points`` onto a square grid."""
    num_queries, dim = query_embed.shape[0], query_embed.shape[1] // 2
    side = int(num_queries**0.5 + 0.999)
    index = torch.arange(num_queries)
    target = inverse_sigmoid((torch.stack([index % side, index // side], -1) + 0.5) / side)
    with torch.no_grad():
        now = reference_points(query_embed[:, :dim])
        query_embed[:, :dim] += (target - now) @ torch.linalg.pinv(reference_points.weight).T

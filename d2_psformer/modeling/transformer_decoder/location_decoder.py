"""Location decoder: thing queries learn what and where (Panoptic SegFormer, section 3.3)."""

import torch
from torch import Tensor, nn

from ...layers import (
    MLP,
    FeedForward,
    MultiScaleDeformableAttention,
    inverse_sigmoid,
    prior_bias,
)
from ...utils.checks import (
    check_at_least,
    check_between,
    check_choice,
    check_fraction,
    check_heads,
)
from ..outputs import QueryOutputs
from ..pixel_decoder import PixelFeatures


class LocationDecoder(nn.Module):
    """Deformable DETR's decoder over learned queries, with iterative box refinement.

    Without refinement (version 1) every query keeps its first reference point, and the
    predicted places only serve the loss: in evaluation mode they are left out.

    Args:
        num_classes: classes of the queries; 0 where the mask decoder classifies.
        refine: the boxes of a layer are the reference of the next one.
        reference_init: "learned", or "grid": the first points start on a regular grid.
        class_prior: class probability before training.
        box_size_prior: side of the first boxes before training, as a fraction of the image.

    Raises:
        UserError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        refine: bool = True,
        dim: int = 256,
        num_queries: int = 300,
        layers: int = 6,
        heads: int = 8,
        num_levels: int = 4,
        points: int = 4,
        dim_feedforward: int = 1024,
        dropout: float = 0.1,
        reference_init: str = "learned",
        class_prior: float = 0.01,
        box_size_prior: float = 0.12,
    ):
        super().__init__()
        check_at_least(1, num_queries=num_queries, layers=layers, dim_feedforward=dim_feedforward)
        check_heads(dim, heads)
        check_fraction(dropout=dropout)
        check_between(0, 1, class_prior=class_prior, box_size_prior=box_size_prior)
        check_choice(("learned", "grid"), reference_init=reference_init)
        self.refine = refine
        # First half position, second half content.
        self.query_embed = nn.Embedding(num_queries, 2 * dim)
        self.reference_points = nn.Linear(dim, 2)
        self.layers = nn.ModuleList(
            LocationLayer(dim, heads, num_levels, points, dim_feedforward, dropout)
            for _ in range(layers)
        )
        self.class_embed = nn.ModuleList(
            nn.Linear(dim, num_classes) for _ in range(layers if num_classes else 0)
        )
        self.box_embed = nn.ModuleList(MLP(dim, dim, 4, 3) for _ in range(layers))
        self._init_heads(class_prior, box_size_prior)
        self._init_references(reference_init)

    def forward(self, features: PixelFeatures) -> tuple[Tensor, QueryOutputs]:
        """
        Returns:
            queries (B, Q, dim) of the last layer.
            logits (B, Q, classes), for a sigmoid, and boxes (B, Q, 4) of every layer.
        """
        batch = features.tokens.shape[0]
        position, query = self.query_embed.weight.expand(batch, -1, -1).chunk(2, dim=-1)
        reference = self.reference_points(position).sigmoid()
        queries, boxes = [], []
        for layer, regress in zip(self.layers, self.box_embed, strict=True):
            query = layer(query, position, reference, features)
            queries.append(query)
            if self.refine or self.training:
                boxes.append(_refine(regress(query), reference))
            if self.refine:
                # Gradients stop here, so that every layer learns its own step.
                reference = boxes[-1].detach()
        logits = [classify(queries[i]) for i, classify in enumerate(self.class_embed)]
        return query, QueryOutputs(logits=logits, boxes=boxes)

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


class LocationLayer(nn.Module):
    """Self-attention, deformable cross-attention and feed-forward, all post-norm."""

    def __init__(
        self,
        dim: int,
        heads: int,
        num_levels: int,
        points: int,
        dim_feedforward: int,
        dropout: float,
    ):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn = MultiScaleDeformableAttention(dim, heads, num_levels, points)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.self_attn.out_proj.weight)

    def forward(
        self, query: Tensor, position: Tensor, reference: Tensor, features: PixelFeatures
    ) -> Tensor:
        """query, position (B, Q, dim); reference (B, Q, 2 or 4) in the valid image."""
        located = query + position
        update, _ = self.self_attn(located, located, query, need_weights=False)
        query = self.norm1(query + self.dropout(update))
        # From the valid image to the padded canvas of every level.
        ratios = features.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
        update = self.cross_attn(
            query + position,
            reference[:, :, None] * ratios[:, None],
            features.tokens,
            features.spatial_shapes,
            features.padding,
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

"""Class and mask of a query (mask classification; MaskFormer, section 3.2)."""

from torch import Tensor, nn

from ...layers import MLP


class MaskHeads(nn.Module):
    """A norm, and after it a classifier and an embedding that is multiplied with every pixel.

    Args:
        num_classes: without "no object", which is added as the last one; None for no classifier.
        mask_dim: channels of the mask features.
    """

    def __init__(self, dim: int, mask_dim: int, num_classes: int | None):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.class_embed = None if num_classes is None else nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, dim, mask_dim, 3)

    def forward(self, query: Tensor) -> tuple[Tensor | None, Tensor]:
        """query (B, Q, dim) -> logits (B, Q, classes + 1) or None, embeddings (B, Q, mask_dim)."""
        query = self.norm(query)
        logits = None if self.class_embed is None else self.class_embed(query)
        return logits, self.mask_embed(query)


def multiply(embeddings: Tensor, features: Tensor) -> Tensor:
    """Mask logits (B, Q, h, w) of embeddings (B, Q, C) on features (B, C, h, w)."""
    return (embeddings @ features.flatten(2)).unflatten(2, features.shape[-2:])

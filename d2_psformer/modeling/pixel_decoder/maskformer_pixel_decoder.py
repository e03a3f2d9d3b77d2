"""MaskFormer's pixel decoder: an FPN, behind a transformer encoder on its coarsest map."""

from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...layers import Attention, FeedForward, SinePositionEncoding, run_layer
from ...utils.checks import check_at_least, check_channels, check_fraction, check_heads
from .convolutions import conv2d
from .features import PixelFeatures, backbone_channels
from .fpn import FPN


class MaskFormerPixelDecoder(nn.Module):
    """Mask features from all levels, and tokens of the coarsest one for the queries to read.

    The encoder's layers, where there are any (six in the models for COCO), work on the projected
    coarsest map, and the FPN starts from their result. Without them it starts from the backbone's
    own map. Padding is not masked, as in the official code.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: dict[str, int],
        dim: int = 256,
        mask_dim: int = 256,
        layers: int = 0,
        heads: int = 8,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        checkpointing: bool = False,
    ):
        """
        Args:
            in_channels: channels of the backbone features to read, fine to coarse.
            mask_dim: channels of the mask features.
            layers: encoder layers.
            checkpointing: compute the layers' activations again in the backward pass.

        Raises:
            UserError: an argument is out of its range.
        """
        super().__init__()
        check_at_least(0, layers=layers)
        check_at_least(1, dim_feedforward=dim_feedforward)
        check_fraction(dropout=dropout)
        check_channels(dim)
        check_heads(dim, heads)
        self.in_features = list(in_channels)
        self.checkpointing = checkpointing
        channels = list(in_channels.values())
        self.input_projection = conv2d(channels[-1], dim, kernel_size=1, xavier=False)
        self.position = SinePositionEncoding(dim, offset=0.0)
        self.layers = nn.ModuleList(
            EncoderLayer(dim, heads, dim_feedforward, dropout) for _ in range(layers)
        )
        self.fpn = FPN([*channels[:-1], dim if layers else channels[-1]], dim, mask_dim)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]) -> dict:
        node = cfg.MODEL.PIXEL_DECODER
        return {
            "in_channels": backbone_channels(cfg, input_shape),
            "dim": node.DIM,
            "mask_dim": node.MASK_DIM,
            "layers": node.LAYERS,
            "heads": node.HEADS,
            "dim_feedforward": node.DIM_FEEDFORWARD,
            "dropout": node.DROPOUT,
            "checkpointing": "pixel_decoder" in cfg.MODEL.CHECKPOINTING,
        }

    def forward(self, features: dict[str, Tensor]) -> PixelFeatures:
        """features: maps (B, C_l, H_l, W_l) by name."""
        levels = [features[f] for f in self.in_features]
        coarsest = self.input_projection(levels[-1])
        shape = tuple(coarsest.shape[-2:])
        tokens = coarsest.flatten(2).transpose(1, 2)
        if self.layers:
            position = self.position.tokens(shape, tokens.device)
            for layer in self.layers:
                tokens = run_layer(layer, tokens, position, recompute=self.checkpointing)
            levels[-1] = tokens.transpose(1, 2).unflatten(2, shape)
        return PixelFeatures.unpadded(tokens, (shape,), self.fpn(levels))


class EncoderLayer(nn.Module):
    """Self-attention of all cells and feed-forward, both post-norm (DETR)."""

    def __init__(self, dim: int, heads: int, dim_feedforward: int, dropout: float):
        super().__init__()
        self.self_attn = Attention(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.ffn = FeedForward(dim, dim_feedforward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """tokens (B, S, dim) and their position (1, S, dim) -> (B, S, dim)."""
        located = tokens + position
        update = self.self_attn(located, located, tokens)
        return self.ffn(self.norm(tokens + self.dropout(update)))

"""A plain vision transformer of timm: DINOv2, DINOv3 and their like."""

import math
from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...d2.modeling import BACKBONE_REGISTRY, Backbone
from ...layers import run_layer
from ...utils.checks import check_at_least, check_fraction
from ...utils.errors import UserError
from .timm_plan import check_timm_name


@BACKBONE_REGISTRY.register()
class PlainViT(Backbone):
    """Tokens at one stride, with the blocks open to an architecture that adds tokens of its own.

    Building never loads weights: see :mod:`d2_psformer.checkpoint`.

    Attributes:
        vit: timm's model. Its ``blocks`` and ``norm`` are for the architecture to call.
        prefix: number of class and register tokens, which come first.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        image_size: int,
        patch_size: int,
        drop_path: float = 0.0,
        rotary_rescale: float = 1.0,
        checkpointing: bool = False,
    ):
        """
        Args:
            name: timm model name of a VisionTransformer or an Eva with rotary positions (DINOv3).
            image_size: side of the images that learned positions are for, pixels; those of other
                images are interpolated.
            patch_size: side of the patches, pixels.
            drop_path: stochastic depth rate, from 0 to below 1.
            rotary_rescale: in training, rotary positions of a batch are multiplied with one random
                number between the inverse of this and this.
            checkpointing: compute the blocks' activations again in the backward pass.

        Raises:
            UserError: timm has no such model, or it is no plain vision transformer.
        """
        super().__init__()
        check_at_least(1, **{"MODEL.VIT.PATCH_SIZE": patch_size})
        if image_size < patch_size:
            raise UserError(
                f"MODEL.VIT.IMAGE_SIZE is {image_size}: it must be at least MODEL.VIT.PATCH_SIZE, "
                f"which is {patch_size}."
            )
        check_fraction(**{"MODEL.BACKBONE.DROP_PATH": drop_path})
        check_at_least(1, **{"MODEL.VIT.ROTARY_RESCALE": rotary_rescale})
        check_timm_name(name)
        self.name, self.patch_size, self.checkpointing = name, patch_size, checkpointing
        self.rotary_rescale = rotary_rescale
        try:
            self.vit = timm.create_model(
                name,
                pretrained=False,
                num_classes=0,
                img_size=image_size,
                patch_size=patch_size,
                dynamic_img_size=True,
                drop_path_rate=drop_path,
                global_pool="",
            )
            self.prefix, self.channels = self.vit.num_prefix_tokens, self.vit.embed_dim
            # Outside of timm's model, which would fix the sizes of an exported one.
            self.rope, self.vit.rope = getattr(self.vit, "rope", None), None
            if not isinstance(self.rope, RotaryEmbeddingDinoV3 | None):
                raise TypeError("other rotary positions")
        except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
            raise UserError(
                f"MODEL.BACKBONE.TIMM_NAME is '{name}', which is no plain vision transformer of "
                "timm: choose one as vit_large_patch14_reg4_dinov2."
            ) from error

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {
            "name": cfg.MODEL.BACKBONE.TIMM_NAME,
            "image_size": cfg.MODEL.VIT.IMAGE_SIZE,
            "patch_size": cfg.MODEL.VIT.PATCH_SIZE,
            "drop_path": cfg.MODEL.BACKBONE.DROP_PATH,
            "rotary_rescale": cfg.MODEL.VIT.ROTARY_RESCALE,
            "checkpointing": "backbone" in cfg.MODEL.CHECKPOINTING,
        }

    @property
    def size_divisibility(self) -> int:
        return self.patch_size

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"tokens": ShapeSpec(channels=self.channels, stride=self.patch_size)}

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            images: (B, 3, H, W) normalised, sides multiples of the patches'.

        Returns:
            tokens (B, prefix + H W / patch_size², C), row by row, with learned positions added.
            rotary positions (H W / patch_size², 2 D) of the patches, sine and cosine; or None.
        """
        tokens = self.vit._pos_embed(self.vit.patch_embed(images))
        if self.rope is None:
            return self.vit.norm_pre(tokens), None
        grid = [side // self.patch_size for side in images.shape[-2:]]
        return self.vit.norm_pre(tokens[0]), self.rotary(grid)

    def rotary(self, grid: Sequence[int]) -> Tensor:
        """DINOv3's rotary positions (rows * columns, 2 D): centres of patches, from -1 to 1."""
        periods = self.rope.periods
        axes = [(torch.arange(n, device=periods.device) + 0.5) / n * 2 - 1 for n in grid]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        if self.training and self.rotary_rescale > 1:
            largest = math.log(self.rotary_rescale)
            places = places * places.new_empty(1).uniform_(-largest, largest).exp()
        angles = (2 * math.pi * places[..., None] / periods).flatten(1).tile(2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def insert(
        self, tokens: Tensor, rotary: Tensor | None, new: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens and rotary positions with ``new`` (B, M, C) behind the prefix.

        New tokens have no position: a rotation of sine 0 and cosine 1 leaves them as they are.
        """
        prefix, patches = tokens.tensor_split([self.prefix], dim=1)
        if rotary is not None:
            count, half = new.shape[1], rotary.shape[1] // 2
            still = rotary.new_zeros(count, half), rotary.new_ones(count, half)
            rotary = torch.cat([torch.cat(still, dim=1), rotary])
        return torch.cat([prefix, new, patches], dim=1), rotary

    def closed(self, cells: Tensor) -> Tensor:
        """What is added to attention scores (B, 1, N, N) to close patches to inserted tokens.

        Args:
            cells: (B, M, S) bool: the patches that each of the M inserted tokens may not read.
        """
        scores = torch.zeros_like(cells, dtype=self.vit.norm.weight.dtype)
        scores = scores.masked_fill(cells, -torch.inf)[:, None]
        inserted, patches = cells.shape[1:]
        return F.pad(scores, (self.prefix + inserted, 0, self.prefix, patches))

    def run(
        self,
        block: nn.Module,
        tokens: Tensor,
        rotary: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """One block.

        Args:
            tokens: (B, N, C).
            rotary: (N - prefix, 2 D), of all tokens behind the prefix; or None.
            mask: what is added to the attention scores, broadcastable to (B, heads, N, N); or None.
        """
        positions = {} if rotary is None else {"rope": rotary}

        def layer(x: Tensor) -> Tensor:
            return block(x, attn_mask=mask, **positions)

        return run_layer(layer, tokens, recompute=self.checkpointing)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> "tokens" (B, C, H / patch_size, W / patch_size), normalised."""
        tokens, rotary = self.embed(images)
        for block in self.vit.blocks:
            tokens = self.run(block, tokens, rotary)
        tokens = self.vit.norm(tokens)[:, self.prefix :]
        height, width = (side // self.patch_size for side in images.shape[-2:])
        return {"tokens": tokens.mT.unflatten(2, (height, width))}

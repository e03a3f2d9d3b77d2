"""MaX-DeepLab's encoder and decoder, through which its queries (the memory) run as well."""

from collections import defaultdict
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...d2.config import configurable
from ...d2.layers import ShapeSpec
from ...d2.modeling import BACKBONE_REGISTRY, Backbone
from ...layers import ConvNorm, truncated_normal_
from ...layers.axial_attention import REACH
from ...utils.checks import check_at_least
from ...utils.errors import UserError
from .max_deeplab_network import AXIAL, Network, StageLayers
from .max_deeplab_stages import semantic_stage
from .residual_blocks import stem


@BACKBONE_REGISTRY.register()
class MaXDeepLabBackbone(Backbone):
    """A ResNet with axial attention, dual-path layers and a decoder (section 3.2, figure 3).

    Attributes:
        aligned_corners: sides of the input are 16 k + 1, so that the corners of all maps lie on
            each other.
    """

    aligned_corners = True

    @configurable
    def __init__(self, *, network: Network, queries: int, feature_dim: int):
        """
        Args:
            queries: number of masks; two at least, as a single one would have every pixel.
            feature_dim: channels of both sequences of the result.
        """
        super().__init__()
        check_at_least(2, **{"MODEL.TRANSFORMER_DECODER.NUM_QUERIES": queries})
        check_at_least(1, **{"MODEL.MAX_DEEPLAB.FEATURE_DIM": feature_dim})
        self.network, self.plan, self.feature_dim = network, network.stages, feature_dim
        self.semantic = semantic_stage(self.plan)
        self.stem = stem([round(width * network.stem_width) for width in network.parts.stem])
        self.memory = nn.Parameter(torch.empty(network.memory_dim, queries))
        truncated_normal_(self.memory, 1.0)
        self.stages = nn.ModuleDict(
            {
                after.name: StageLayers(network, after, before)
                for before, after in pairwise(self.plan)
            }
        )
        self.class_memory, self.mask_memory = (
            ConvNorm(network.memory_dim, feature_dim, relu=True) for _ in range(2)
        )

    @classmethod
    def from_config(cls, cfg, input_shape):
        node, memory = cfg.MODEL.MAX_DEEPLAB, cfg.MODEL.TRANSFORMER_DECODER
        network = Network(
            variant=node.VARIANT,
            stacks=node.DECODER_STACKS,
            stem_width=node.STEM_WIDTH,
            width=node.WIDTH,
            transformer_width=node.TRANSFORMER_WIDTH,
            transformer_stages=tuple(node.TRANSFORMER_STAGES),
            paths=tuple(node.ATTENTION_PATHS),
            memory_dim=node.MEMORY_DIM,
            heads=memory.HEADS,
            dim_feedforward=memory.DIM_FEEDFORWARD,
            drop_path=cfg.MODEL.BACKBONE.DROP_PATH,
            checkpointing="backbone" in cfg.MODEL.CHECKPOINTING,
        )
        return {
            "network": network,
            "queries": memory.NUM_QUERIES,
            "feature_dim": node.FEATURE_DIM,
        }

    @property
    def size_divisibility(self) -> int:
        return 16

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride; of the sequences the channels alone."""
        levels = {"res2": 2, "res3": 3, "semantic": self.semantic.level, "panoptic": 2}
        strides = {"res2": 4, "res3": 8, "semantic": self.semantic.stride, "panoptic": 4}
        shapes = {
            name: ShapeSpec(channels=self.network.channels(level), stride=strides[name])
            for name, level in levels.items()
        }
        sequences = ("class_memory", "mask_memory")
        return shapes | dict.fromkeys(sequences, ShapeSpec(channels=self.feature_dim))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> maps (B, C, ceil(H / stride), …), sequences (B, N, feature_dim).

        Raises:
            UserError: a side is longer than axial attention reaches.
        """
        self._check_size(*x.shape[2:])
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        memory = self.memory[None, :, :, None].expand(x.shape[0], -1, -1, -1)
        maps, by_stride = {}, defaultdict(list)
        for stage in self.plan[1:]:
            earlier = by_stride[stage.stride]
            x, memory = self.stages[stage.name](x, memory, earlier[-2:])
            maps[stage.name] = x
            # what is not a fusion continues the newest map of its stride and replaces it
            by_stride[stage.stride] = [*(earlier if stage.fused else earlier[:-1]), x]
        result = {
            "res2": maps["stage2"],
            "res3": maps["stage3"],
            "semantic": maps[self.semantic.name],
            "panoptic": x,
        }
        return {name: y.relu() for name, y in result.items()} | {
            "class_memory": self.class_memory(memory)[..., 0].mT,
            "mask_memory": self.mask_memory(memory)[..., 0].mT,
        }

    def _check_size(self, height: int, width: int) -> None:
        longest = self.size_divisibility * REACH + 1
        if AXIAL in self.network.paths and max(height, width) > longest:
            raise UserError(
                f"The images of {height}x{width} pixels, with padding, are too large: axial "
                f"attention reaches {longest} pixels a side, so resize them by "
                "INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST (in training ..._TRAIN, or by "
                "INPUT.DEEPLAB2.SIZE)."
            )

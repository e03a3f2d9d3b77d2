"""The layers of MaX-DeepLab's stages, by the options of the whole network."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from ...layers import run_layer
from ...utils.checks import check_at_least, check_choice, check_fraction
from ...utils.errors import UserError
from .dual_path import PATHS, DualPathLayer
from .max_deeplab_stages import VARIANTS, Stage, Variant
from .residual_blocks import ResidualBlock, axial, basic, bottleneck
from .resized_fusion import ResizedProjection

_CONVOLUTIONS = {"basic": basic, "bottleneck": bottleneck}
AXIAL = "p2p"


@dataclass(frozen=True)
class Network:
    """Options of MaX-DeepLab's backbone, and the layers that follow from them.

    Attributes:
        variant: "S" or "L".
        stacks: ways up and down in the decoder before the last way up (the paper's L).
        stem_width, width: factors on the channels of stride 2, and of the other strides.
        transformer_width: channels of the keys in the dual-path layers of stage 5; half of them in
            stage 4, and so on.
        transformer_stages: 2 to 5, in L also 1; the stages, decoder stages of their size included,
            where a dual-path layer follows every block.
        paths: attention that exists, of "p2p", "p2m", "m2p" and "m2m": the first reads the second,
            pixels (p) and memory (m). Without p2p, convolutions stand for axial attention.
        memory_dim: channels of the memory.
        dim_feedforward: hidden channels of the memory's feed-forward layers; 0 for none.
        drop_path: largest rate of stochastic depth, which grows with the stage.
        checkpointing: compute activations of the layers again in the backward pass. Batch norms
            that are not frozen then see every batch twice.
    """

    variant: str = "S"
    stacks: int = 0
    stem_width: float = 1.0
    width: float = 1.0
    transformer_width: int = 128
    transformer_stages: tuple[int, ...] = (5,)
    paths: tuple[str, ...] = (AXIAL, *PATHS)
    memory_dim: int = 256
    heads: int = 8
    dim_feedforward: int = 2048
    drop_path: float = 0.0
    checkpointing: bool = False

    def __post_init__(self):
        node, memory = "MODEL.MAX_DEEPLAB", "MODEL.TRANSFORMER_DECODER"
        check_choice(tuple(VARIANTS), **{f"{node}.VARIANT": self.variant})
        check_at_least(0, **{f"{node}.DECODER_STACKS": self.stacks})
        widths = {f"{node}.STEM_WIDTH": self.stem_width, f"{node}.WIDTH": self.width}
        check_at_least(1 / 64, **widths)  # the narrowest convolution has 64 channels
        check_at_least(1, **{f"{node}.MEMORY_DIM": self.memory_dim, f"{memory}.HEADS": self.heads})
        check_at_least(0, **{f"{memory}.DIM_FEEDFORWARD": self.dim_feedforward})
        check_fraction(**{"MODEL.BACKBONE.DROP_PATH": self.drop_path})
        for path in self.paths:
            check_choice((AXIAL, *PATHS), **{f"{node}.ATTENTION_PATHS": path})
        levels = sorted({stage.level for stage in self.stages[1:]})
        for stage in self.transformer_stages:
            check_choice(tuple(levels), **{f"{node}.TRANSFORMER_STAGES": stage})
        axial_levels = {s.level for s in self.stages if "a" in s.blocks and AXIAL in self.paths}
        _check_keys(f"{node}.WIDTH", self.heads, map(self.axial_keys, axial_levels))
        dual_levels = self.transformer_stages if set(PATHS) & set(self.paths) else ()
        _check_keys(f"{node}.TRANSFORMER_WIDTH", self.heads, map(self.dual_path_keys, dual_levels))

    @property
    def parts(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def stages(self) -> list[Stage]:
        return self.parts.stages(self.stacks)

    def channels(self, level: int) -> int:
        """Of a stage's map."""
        return round(64 * 2**level * (self.stem_width if level <= 1 else self.width))

    def axial_values(self, level: int) -> int:
        """Channels of the values of axial attention."""
        return round(self.parts.axial_share * self.channels(level))

    def axial_keys(self, level: int) -> int:
        return self.axial_values(level) // 2

    def dual_path_keys(self, level: int) -> int:
        return self.transformer_width // 2 ** (5 - level)

    def block(self, kind: str, before: int, level: int, stride: int) -> ResidualBlock:
        """kind: "c" or "a" as in :class:`Stage`; before: level of the input."""
        inputs, outputs = self.channels(before), self.channels(level)
        if kind == "a" and AXIAL in self.paths:
            branch = axial(inputs, self.axial_values(level), outputs, self.heads)
        else:
            branch = _CONVOLUTIONS[self.parts.convolutions](inputs, outputs, stride)
        return ResidualBlock(inputs, outputs, branch, stride, self.drop_path_rate(before))

    def drop_path_rate(self, before: int) -> float:
        """Of a block and its dual-path layer; before: level of the input."""
        return self.drop_path * (before - 1) / 4 if before >= self.parts.drop_path_from else 0.0

    def transformer(self, before: int, level: int) -> DualPathLayer:
        return DualPathLayer(
            self.channels(level),
            self.memory_dim,
            self.dual_path_keys(level),
            dim_feedforward=self.dim_feedforward,
            heads=self.heads,
            paths=tuple(path for path in self.paths if path in PATHS),
            drop_path=self.drop_path_rate(before),
        )


def _check_keys(name: str, heads: int, channels: Iterable[int]) -> None:
    for dim in channels:
        if dim < heads or dim % heads:
            raise UserError(
                f"{name} gives the keys of an attention layer {dim} channels: these must be a "
                f"positive multiple of MODEL.TRANSFORMER_DECODER.HEADS, which is {heads}."
            )


class StageLayers(nn.Module):
    """Fusion, if any; residual blocks; a dual-path layer after each block, if any."""

    def __init__(self, network: Network, stage: Stage, before: Stage):
        """
        Args:
            before: the stage that the map comes from.
        """
        super().__init__()
        self.fused, self.recompute = stage.fused, network.checkpointing
        if stage.fused:
            channels = network.channels(before.level), network.channels(stage.level)
            self.fusion = ResizedProjection(*channels, 2 if before.stride < stage.stride else 1)
            before = stage
        levels = [before.level] + [stage.level] * (len(stage.blocks) - 1)
        strides = [stage.stride // before.stride] + [1] * (len(stage.blocks) - 1)
        self.blocks = nn.ModuleList(
            network.block(kind, level, stage.level, stride)
            for kind, level, stride in zip(stage.blocks, levels, strides, strict=True)
        )
        with_memory = stage.level in network.transformer_stages and set(PATHS) & set(network.paths)
        self.transformers = nn.ModuleList(
            network.transformer(level, stage.level) for level in levels if with_memory
        )

    def forward(self, x: Tensor, memory: Tensor, earlier: list[Tensor]) -> tuple[Tensor, Tensor]:
        """x (B, C, h, w) and memory (B, M, N, 1) -> both after the stage.

        Args:
            earlier: maps of the stage's channels and size, which are added if it is a fused one.
        """
        if self.fused:
            x = self.fusion(x, earlier[-1].shape[2:]) + sum(earlier)
        for i, block in enumerate(self.blocks):
            x = run_layer(block, x, recompute=self.recompute)
            if self.transformers:
                x, memory = run_layer(self.transformers[i], x, memory, recompute=self.recompute)
        return x, memory

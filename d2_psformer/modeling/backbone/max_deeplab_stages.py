"""The stages of MaX-DeepLab-S and -L as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Blocks of one stride.

    Attributes:
        name: of the module; "extra" in it marks what no ImageNet weights exist for.
        level: ResNet's number of the stage, 0 to 5, which gives the channels and the stride.
        blocks: a letter each: "c" convolutions, "a" axial attention.
        fused: the input is fused with earlier maps.
    """

    name: str
    level: int
    blocks: str
    fused: bool = False

    @property
    def stride(self) -> int:
        """Pixels of the input a cell, along each side."""
        return min(max(2**self.level, 2), 16)


@dataclass(frozen=True)
class Variant:
    """What differs between S and L, besides the widths.

    Attributes:
        stem: channels of its convolutions.
        encoder: the way down; its first stage is the stem.
        convolutions: the block without attention, "bottleneck" or "basic".
        axial_share: channels of the values in axial attention, per channel of the stage.
        pretrained_stacks: stacks of the decoder that belong to the ImageNet model.
        extra_blocks: blocks a stage after the ImageNet model.
        drop_path_from: the lowest level of an input with drop path.
    """

    stem: tuple[int, ...]
    encoder: tuple[Stage, ...]
    convolutions: str
    axial_share: float
    pretrained_stacks: int
    extra_blocks: int
    drop_path_from: int

    def stages(self, stacks: int) -> list[Stage]:
        """All stages, with ``stacks`` ways up and down before the last way up (the paper's L)."""
        pretrained = min(stacks, self.pretrained_stacks)
        decoder = [(level, "", 1) for level in _UP_AND_DOWN * pretrained]
        extra = _UP_AND_DOWN * (stacks - pretrained) + _UP
        decoder += [(level, "_extra", self.extra_blocks) for level in extra]
        named = [
            Stage(f"decoder{i}{extra}", level, _blocks(level, count), fused=True)
            for i, (level, extra, count) in enumerate(decoder, 1)
        ]
        split = 4 * pretrained
        between = Stage("stage5_extra", 5, _blocks(5, self.extra_blocks))
        return [*self.encoder, *named[:split], between, *named[split:]]


def semantic_stage(stages: list[Stage]) -> Stage:
    """The stage that the auxiliary semantic head reads.

    The first one of stride 4 after the ImageNet model unless it is the last one of all; then the
    last one of that model.
    """
    extra = next(i for i, stage in enumerate(stages) if "extra" in stage.name)
    fine = [stage for stage in stages[extra:] if stage.stride == 4]
    return fine[0] if len(fine) > 1 else stages[extra - 1]


def _blocks(level: int, count: int) -> str:
    return ("a" if level == 5 else "c") * count


_UP = (3, 2)
_UP_AND_DOWN = (3, 2, 3, 5)

VARIANTS = {
    "S": Variant(
        stem=(64, 64, 128),
        encoder=(
            Stage("stem", 1, ""),
            Stage("stage2", 2, "ccc"),
            Stage("stage3", 3, "cccc"),
            Stage("stage4", 4, "caaaaa"),
            Stage("stage5", 5, "aaa"),
        ),
        convolutions="bottleneck",
        axial_share=0.5,
        pretrained_stacks=0,
        extra_blocks=1,
        drop_path_from=4,
    ),
    "L": Variant(
        stem=(64,),
        encoder=(
            Stage("stem", 0, ""),
            Stage("stage1", 1, "ccc"),
            Stage("stage2", 2, "ccc"),
            Stage("stage3", 3, "cccccc"),
            Stage("stage4", 4, "caa"),
            Stage("stage5", 5, "aaa"),
        ),
        convolutions="basic",
        axial_share=1.0,
        pretrained_stacks=1,
        extra_blocks=3,
        drop_path_from=1,
    ),
}

"""Layer-wise decay of learning rates: the earlier a block of the backbone, the lower its rate."""

import re
from collections.abc import Collection

from ..d2.config import CfgNode
from ..utils.errors import UserError

_BLOCK = re.compile(r"backbone\.vit\.blocks\.(\d+)\.")
_FINAL_NORM = "backbone.vit.norm."


def layer_factors(names: Collection[str], solver: CfgNode) -> dict[str, float]:
    """The factor on the learning rate of each parameter, 1 outside of the backbone (EoMT's rule).

    Block i of N has LAYER_DECAY^(N - 1 - i), the last LAYER_DECAY_SKIPS blocks and the final norm
    have 1, and what comes before the blocks has the factor of the first.

    Args:
        names: of all parameters of a model.

    Raises:
        UserError: there is a decay, but the backbone has no blocks.
    """
    if solver.LAYER_DECAY == 1:
        return dict.fromkeys(names, 1.0)
    blocks = {name: int(found[1]) for name in names if (found := _BLOCK.match(name))}
    if not blocks:
        raise UserError(
            f"SOLVER.LAYER_DECAY is {solver.LAYER_DECAY}, but the backbone is no list of blocks: "
            "set MODEL.BACKBONE.NAME PlainViT, or no decay (1.0)."
        )
    last = max(blocks.values())
    full = last - solver.LAYER_DECAY_SKIPS

    def factor(name: str) -> float:
        is_full = not name.startswith("backbone.") or name.startswith(_FINAL_NORM)
        if is_full or (name in blocks and blocks[name] > full):
            return 1.0
        return solver.LAYER_DECAY ** (last - blocks.get(name, 0))

    return {name: factor(name) for name in names}

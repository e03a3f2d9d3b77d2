"""Masked attention that ends in the course of training (EoMT, section 3.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...d2.utils import get_event_storage, has_event_storage
from ...utils.errors import UserError


class MaskAnnealing(nn.Module):
    """For each block the probability that a query attends inside its mask alone.

    It is 1 until the first iteration of the block's schedule, and falls to 0 at the second one, as
    (1 - progress) ** power. It is stored with the weights, so that a checkpoint from the middle of
    training is evaluated as it was trained.

    Args:
        schedule: the two iterations of each block.
        power: of the fall.

    Raises:
        UserError: an entry of the schedule is not two iterations in their order.
    """

    def __init__(self, schedule: Sequence[tuple[int, int]], power: float = 0.9):
        super().__init__()
        for entry in schedule:
            if len(entry) != 2 or not 0 <= entry[0] < entry[1]:
                raise UserError(
                    f"MODEL.EOMT.MASK_ANNEALING has {list(entry)}: give the iteration at which a "
                    "block begins to unmask its queries, and a later one at which all are unmasked."
                )
        self.schedule, self.power = [tuple(entry) for entry in schedule], power
        self.register_buffer("probabilities", torch.zeros(len(schedule)))
        self.register_load_state_dict_post_hook(lambda module, _: module.read())
        # Blocks that have masks in inference, so that the network depends on no number.
        self.masked = [False] * len(schedule)

    def read(self) -> None:
        """Note which blocks have masks in inference, from the probabilities."""
        self.masked = [probability > 0 for probability in self.probabilities.tolist()]

    def update(self) -> None:
        """Set the probabilities for the iteration that the trainer is in."""
        if has_event_storage():
            iteration = get_event_storage().iter
            values = [self.at(iteration, *entry) for entry in self.schedule]
            self.probabilities.copy_(torch.tensor(values))
            self.read()

    def is_masked(self, block: int, training: bool) -> bool:
        """Whether the attention of a block has a mask, in training or in inference."""
        return bool(self.schedule) and (training or self.masked[block])

    def at(self, iteration: int, start: int, end: int) -> float:
        progress = min(max((iteration - start) / (end - start), 0.0), 1.0)
        return (1 - progress) ** self.power

    def forward(self, outside: Tensor, block: int) -> Tensor:
        """The cells that queries may not read: those outside their masks, for some of the queries.

        Args:
            outside: (B, Q, S) bool.
            block: counted from 0.
        """
        keeps = torch.rand(outside.shape[:2], device=outside.device) < self.probabilities[block]
        return outside & keeps[..., None]

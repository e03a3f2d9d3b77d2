"""An exponential moving average of the weights, which is evaluated and saved in their place."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..d2.engine import HookBase
from ..modeling.transformer_decoder import MaskAnnealing
from ..utils.errors import UserError


class WeightAverage(HookBase):
    """Updates ``averaged`` after every iteration: ``decay`` of it, and the rest of the weights.

    Statistics of batch norms are averaged too, EoMT's schedules of masks are not. Training starts
    with what ``averaged`` has been loaded with. The weights that are learned are in the hook's
    state, for a resumed run.

    Args:
        model: the one that is learned.
        decay: share of the average that an iteration keeps, below 1, as 0.999.

    Attributes:
        averaged: a model like ``model``.

    Raises:
        UserError: the decay is out of its range.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 < decay < 1:
            raise UserError(f"SOLVER.EMA_DECAY is {decay}: it must be above 0 and below 1, or 0.")
        keep_share = get_ema_multi_avg_fn(decay)

        def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor) -> None:
            if averaged[0].is_floating_point():
                keep_share(averaged, current, count)
                return
            for old, new in zip(averaged, current, strict=True):  # ids and counters
                old.copy_(new)

        self._average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self.averaged = self._average.module
        pairs = zip(self.averaged.modules(), model.modules(), strict=True)
        self._schedules = [pair for pair in pairs if isinstance(pair[0], MaskAnnealing)]

    def before_train(self) -> None:
        if self._average.n_averaged == 0:
            self.trainer.model.load_state_dict(self.averaged.state_dict())

    def after_step(self) -> None:
        self._average.update_parameters(self.trainer.model)
        for averaged, current in self._schedules:
            averaged.load_state_dict(current.state_dict())

    def state_dict(self) -> dict:
        return {"count": self._average.n_averaged, "weights": self.trainer.model.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        self._average.n_averaged.copy_(state_dict["count"])
        self.trainer.model.load_state_dict(state_dict["weights"])

"""One step of the optimizer: forward, backward, clip, update, on any device."""

import logging
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from ..d2.config import CfgNode
from ..utils.errors import UserError, check_known
from .autocast import fast_type
from .optimizer import GradientClipper
from .seeding import derive_seed, seed_generators

logger = logging.getLogger(__name__)

_AMP_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
# Gradients that overflow float16 even when the loss is scaled down will not stop doing so.
MIN_LOSS_SCALE = 1.0


def amp_dtype(cfg: CfgNode) -> torch.dtype | None:
    """The autocast type of SOLVER.AMP; None for float32.

    "auto" is bfloat16 on GPUs that compute in it, float16 on others, and float32 on CPUs.

    Raises:
        UserError: the type is unknown.
    """
    amp, device = cfg.SOLVER.AMP, torch.device(cfg.MODEL.DEVICE)
    if not amp.ENABLED:
        return None
    check_known("SOLVER.AMP.DTYPE", amp.DTYPE, ("auto", *_AMP_DTYPES))
    if amp.DTYPE == "auto" and device.type != "cuda":
        return None
    return _AMP_DTYPES.get(amp.DTYPE) or fast_type(device) or torch.float16


class TrainStep:
    """Trains the model on the batches of one iteration.

    Gradients are averaged over the batches, as over the processes. Random numbers of the forward
    pass (dropout) follow from seed, iteration, process and batch. Under float16 the loss is scaled
    so that small gradients survive, and a step whose gradients overflow is skipped with a warning.

    Args:
        model: returns a dict of weighted scalar losses for a batch; on one device.
        clip: result of :func:`build_gradient_clipper`.
        amp_dtype: autocast type, None for full precision.
        seed, rank: of the run and of this process.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        clip: GradientClipper | None = None,
        amp_dtype: torch.dtype | None = None,
        seed: int = 0,
        rank: int = 0,
    ):
        self.model = model
        self.optimizer = optimizer
        self.clip = clip
        self.amp_dtype = amp_dtype
        self.seed = seed
        self.rank = rank
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device_type = self.parameters[0].device.type
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=amp_dtype is torch.float16)

    def __call__(self, batches: list[list[dict]], iteration: int) -> dict[str, float]:
        """Do one step.

        Returns:
            The mean of every loss over the batches, ``total_loss``, and ``grad_norm`` (2-norm over
            all gradients, before clipping) unless the step was skipped.

        Raises:
            UserError: a loss is not finite, or a gradient, which float16 allows until the
                loss scale has fallen to ``MIN_LOSS_SCALE``. No parameter has been changed then.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            seed_generators(derive_seed(self.seed, "forward", iteration, self.rank, index))
            is_last = index + 1 == len(batches)
            with self._synchronize_gradients(is_last):
                batch_losses = self._forward(batch)
                total = sum(batch_losses.values()) / len(batches)
                self.scaler.scale(total).backward()
            for name, value in batch_losses.items():
                losses[name] = losses.get(name, 0) + value.detach().float() / len(batches)

        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        metrics = self._read(losses, norm)
        self._check_finite(metrics, batches, iteration)
        if self.clip:
            self.clip(self.parameters)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if not math.isfinite(metrics["grad_norm"]):
            logger.warning(
                "The gradients of iteration %d overflow float16: its step was skipped and the loss "
                "scale lowered to %g.", iteration, self.scaler.get_scale(),
            )  # fmt: skip
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    def _forward(self, batch: list[dict]) -> dict[str, Tensor]:
        enabled = self.amp_dtype is not None
        with torch.autocast(self.device_type, self.amp_dtype, enabled=enabled):
            return self.model(batch)

    def _synchronize_gradients(self, is_last: bool):
        """Processes exchange gradients once an iteration, with the last batch."""
        if isinstance(self.model, DistributedDataParallel) and not is_last:
            return self.model.no_sync()
        return nullcontext()

    def _read(self, losses: dict[str, Tensor], norm: Tensor) -> dict[str, float]:
        # One transfer for all: each one waits for the device.
        tensors = {**losses, "grad_norm": norm.float()}
        values = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True))
        return {"total_loss": sum(values[name] for name in losses), **values}

    def _check_finite(self, metrics: dict[str, float], batches: list[list[dict]], iteration: int):
        wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
        if not wrong:
            return
        name = next((name for name in wrong if name != "total_loss"), "total_loss")
        what = f"'{name}' became {metrics[name]}"
        if wrong == ["grad_norm"]:
            parameter = self._first_not_finite()
            if parameter and self.scaler.is_enabled() and self.scaler.get_scale() > MIN_LOSS_SCALE:
                return  # the scaler skips this step and lowers its scale
            what = f"The gradient of '{parameter or 'all parameters'}' is not finite"
        files = [
            sample["file_name"] for batch in batches for sample in batch if "file_name" in sample
        ]
        raise UserError(
            f"{what} at iteration {iteration} in process {self.rank}: "
            "lower SOLVER.BASE_LR, lengthen SOLVER.WARMUP_ITERS, set SOLVER.AMP.DTYPE to "
            "'bfloat16' or SOLVER.AMP.ENABLED to False, or check the images of this iteration: "
            f"{', '.join(files)}."
        )

    def _first_not_finite(self) -> str:
        """The first parameter with NaN or Inf in its gradient; "" if only their norm overflows."""
        named = self.model.named_parameters()
        wrong = (n for n, p in named if p.grad is not None and not p.grad.isfinite().all())
        return next(wrong, "").removeprefix("module.")

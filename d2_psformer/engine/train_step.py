"""One step of the optimizer: forward, backward, clip, update, on any device."""

import logging
import math
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import get_total_norm

from ..d2.config import CfgNode
from ..d2.utils import comm
from ..utils.errors import NotFiniteError, UserError, check_known, put_off_not_finite
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
        max_bad_steps: so many steps in a row may be left out, as their losses or gradients are not
            finite; the next one raises its error.

    Attributes:
        bad_steps: left out so far, in all and in a row.
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
        max_bad_steps: int = 0,
    ):
        self.model = model
        self.optimizer = optimizer
        self.clip = clip
        self.amp_dtype = amp_dtype
        self.seed = seed
        self.rank = rank
        self.max_bad_steps = max_bad_steps
        self.bad_steps = [0, 0]
        self._put_off: list[NotFiniteError] = []
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.device_type = self.parameters[0].device.type
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=amp_dtype is torch.float16)

    def __call__(self, batches: list[list[dict]], iteration: int) -> dict[str, float]:
        """Do one step.

        Returns:
            The mean of every loss over the batches, ``total_loss``, and ``grad_norm`` (2-norm over
            all gradients, before clipping) unless the step overflowed float16. With
            ``max_bad_steps`` also ``bad_steps``, and that alone where the step was left out.

        Raises:
            NotFiniteError: an image, a loss or a gradient is not finite, which gradients of
                float16 may be until the loss scale has fallen to ``MIN_LOSS_SCALE``. No parameter
                has been changed then.
        """
        if not self.max_bad_steps:
            return self._step(batches, iteration)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        try:
            with put_off_not_finite() as self._put_off:
                metrics = self._step(batches, iteration)
            self.bad_steps[1] = 0
        except NotFiniteError as error:
            if self.bad_steps[1] >= self.max_bad_steps:
                raise
            metrics = {}
            self._leave_out(error, buffers)
        return {**metrics, "bad_steps": self.bad_steps[0]}

    def _leave_out(self, error: NotFiniteError, buffers: list[Tensor]) -> None:
        """Forget the step: batch norms have seen its numbers too."""
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)
        self.bad_steps = [count + 1 for count in self.bad_steps]
        logger.warning(
            "Step left out, %d of at most %d in a row (SOLVER.MAX_BAD_STEPS): %s",
            self.bad_steps[1], self.max_bad_steps, error,
        )  # fmt: skip

    def _step(self, batches: list[list[dict]], iteration: int) -> dict[str, float]:
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            seed_generators(derive_seed(self.seed, "forward", iteration, self.rank, index))
            is_last = index + 1 == len(batches)
            with self._synchronize_gradients(is_last):
                batch_losses = self._forward(batch, iteration)
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

    def _forward(self, batch: list[dict], iteration: int) -> dict[str, Tensor]:
        enabled = self.amp_dtype is not None
        try:
            with torch.autocast(self.device_type, self.amp_dtype, enabled=enabled):
                return self.model(batch)
        except NotFiniteError as error:
            # Other processes wait for this one in the middle of the step: they cannot leave it out.
            kind = NotFiniteError if comm.get_world_size() == 1 else UserError
            raise kind(self._with_place(error, [batch], iteration)) from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(
                f"A batch norm has one number of every channel {self._place(iteration)}, with "
                f"{_files([batch])}, and thus no variance: train on larger images "
                "(INPUT.MIN_SIZE_TRAIN, INPUT.CROP.SIZE) or on more at once (SOLVER.IMS_PER_BATCH),"
                " or, if it is the backbone's, set MODEL.BACKBONE.NORM to 'FrozenBN'."
            ) from error

    def _with_place(self, error: NotFiniteError, batches: list[list[dict]], iteration: int) -> str:
        return f"{error} This was {self._place(iteration)}, with {_files(batches)}."

    def _place(self, iteration: int) -> str:
        return f"at iteration {iteration} in process {self.rank}"

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
        what = self._first_wrong(metrics)
        error = what and (
            f"{what} {self._place(iteration)}: lower SOLVER.BASE_LR, lengthen "
            "SOLVER.WARMUP_ITERS, set SOLVER.AMP.DTYPE to 'bfloat16' or SOLVER.AMP.ENABLED to "
            f"False, or check {_files(batches)}."
        )
        if self._put_off:
            error = self._with_place(self._put_off[0], batches, iteration)
        if self.max_bad_steps:  # all processes leave out the same steps
            error = next(filter(None, comm.all_gather(error)), None)
        if error:
            if self.max_bad_steps:
                self.scaler.update()
            raise NotFiniteError(error)

    def _first_wrong(self, metrics: dict[str, float]) -> str | None:
        """The first loss or gradient that is not finite, in words."""
        wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
        if not wrong:
            return None
        if wrong != ["grad_norm"]:
            name = next((name for name in wrong if name != "total_loss"), "total_loss")
            return f"'{name}' became {metrics[name]}"
        parameter = self._first_not_finite()
        if parameter and self.scaler.is_enabled() and self.scaler.get_scale() > MIN_LOSS_SCALE:
            return None  # the scaler skips this step and lowers its scale
        return f"The gradient of '{parameter or 'all parameters'}' is not finite"

    def _first_not_finite(self) -> str:
        """The first parameter with NaN or Inf in its gradient; "" if only their norm overflows."""
        named = self.model.named_parameters()
        wrong = (n for n, p in named if p.grad is not None and not p.grad.isfinite().all())
        return next(wrong, "").removeprefix("module.")


def _files(batches: list[list[dict]]) -> str:
    names = [x["file_name"] for batch in batches for x in batch if "file_name" in x]
    return f"the images of this iteration: {', '.join(names)}" if names else "its images"

"""The hook that steps the learning rates."""

from ..d2.engine import hooks


class LRScheduler(hooks.LRScheduler):  # a resumed run finds the hook's state by this name
    """The backend's, but the scalar ``lr`` is the largest rate of all parameter groups.

    The backend shows the largest group's, which may be early blocks of a backbone that still waits.
    """

    def after_step(self):
        groups = self.trainer.optimizer.param_groups
        largest = max(group["lr"] for group in groups)
        self.trainer.storage.put_scalar("lr", largest, smoothing_hint=False)
        self.scheduler.step()

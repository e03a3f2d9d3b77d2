"""The loop of training: iterations, and hooks around them."""

import logging
import weakref
from collections.abc import Iterable

from ..utils.events import EventStorage

logger = logging.getLogger(__name__)


class HookBase:
    """Base class of hooks, which are called around the iterations.

    ``self.trainer`` is a weak reference, set when the hook is registered. ``before_step`` should
    be quick; work that takes time belongs into ``after_step``.
    """

    trainer: "TrainerBase" = None

    def before_train(self) -> None:
        """Called once before the first iteration."""

    def before_step(self) -> None:
        """Called before every iteration."""

    def after_step(self) -> None:
        """Called after every iteration."""

    def after_train(self) -> None:
        """Called once at the end, after an error too."""

    def state_dict(self) -> dict:
        """State for the checkpoint; a hook that has some defines ``load_state_dict`` too."""
        return {}


class TrainerBase:
    """A loop over ``run_step`` with hooks, without models and data.

    Attributes:
        iter: the current iteration; ``max_iter`` or more in ``after_train`` means success.
        start_iter: the iteration to start with.
        max_iter: the iteration to stop before.
        storage: the :class:`EventStorage` that is open during training.
    """

    def __init__(self) -> None:
        self._hooks: list[HookBase] = []
        self.iter = 0
        self.start_iter = 0
        self.max_iter: int
        self.storage: EventStorage

    def register_hooks(self, hooks: Iterable[HookBase | None]) -> None:
        """Add hooks in the order in which they are to run; ``None`` entries are left out."""
        for hook in hooks:
            if hook is None:
                continue
            if not isinstance(hook, HookBase):
                raise TypeError(f"register_hooks takes HookBase objects, not {type(hook)}.")
            # Weak: trainer and hook must not keep each other alive.
            hook.trainer = weakref.proxy(self)
            self._hooks.append(hook)

    def train(self, start_iter: int, max_iter: int) -> None:
        logger.info("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                for self.iter in range(start_iter, max_iter):
                    self.before_step()
                    self.run_step()
                    self.after_step()
                # In after_train, max_iter means that no iteration failed.
                self.iter += 1
            except Exception:
                logger.exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def before_train(self) -> None:
        for hook in self._hooks:
            hook.before_train()

    def before_step(self) -> None:
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.before_step()

    def run_step(self) -> None:
        raise NotImplementedError

    def after_step(self) -> None:
        for hook in self._hooks:
            hook.after_step()

    def after_train(self) -> None:
        self.storage.iter = self.iter
        for hook in self._hooks:
            hook.after_train()

    def state_dict(self) -> dict:
        """``{"iteration": int, "hooks": {class name of the hook: its state}}``."""
        state = {"iteration": self.iter}
        hooks = {}
        for hook in self._hooks:
            hook_state = hook.state_dict()
            if hook_state:
                hooks.setdefault(type(hook).__qualname__, hook_state)
        if hooks:
            state["hooks"] = hooks
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        self.iter = state_dict["iteration"]
        own = {type(hook).__qualname__: hook for hook in reversed(self._hooks)}
        for name, hook_state in state_dict.get("hooks", {}).items():
            if name in own:
                own[name].load_state_dict(hook_state)
            else:
                logger.warning("The checkpoint's state of hook '%s' is not used.", name)

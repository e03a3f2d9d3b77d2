"""Communication, seeds, events, logging."""

from typing import TYPE_CHECKING

from . import from_backend

if TYPE_CHECKING:
    from ..d2lite.utils import comm
    from ..d2lite.utils.collect_env import collect_env_info
    from ..d2lite.utils.env import seed_all_rng
    from ..d2lite.utils.events import (
        EventStorage,
        EventWriter,
        TensorboardXWriter,
        get_event_storage,
        has_event_storage,
    )
    from ..d2lite.utils.logger import setup_logger
else:
    __getattr__ = from_backend(
        "utils.comm",
        "utils.collect_env",
        "utils.env",
        "utils.events",
        "utils.logger",
    )

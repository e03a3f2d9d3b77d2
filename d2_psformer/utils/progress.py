"""Progress of long work: a bar on a terminal, lines in the log elsewhere."""

import io
import logging
import sys

from tqdm import tqdm

logger = logging.getLogger(__name__)
LOG_INTERVAL = 10  # seconds between two lines


class progress(tqdm):  # noqa: N801  used as tqdm is
    """``tqdm`` that writes to the log, every few seconds, where standard error is no terminal."""

    def __init__(self, *args, **options):
        self.is_bar = sys.stderr.isatty()
        if not self.is_bar:
            options |= {"file": io.StringIO(), "mininterval": LOG_INTERVAL, "bar_format": _LINE}
        super().__init__(*args, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if self.is_bar:
            return super().display(msg, pos)
        logger.info("%s", self)
        return True


_LINE = "{desc}: {n_fmt} of {total_fmt} in {elapsed}, {remaining} left"

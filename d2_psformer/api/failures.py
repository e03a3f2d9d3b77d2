"""Images that fail among several: the work on the others goes on."""

import logging
from collections.abc import Mapping, Sequence

from ..utils.errors import UserError, is_user_error, sentence_of
from .result import PanopticResult

logger = logging.getLogger(__name__)


class FailedImagesError(UserError):
    """Some of several images failed; it is raised after the work on all others.

    Attributes:
        failures: what is wrong with each image that failed, by its path, else by "Image 2".
        results: of the other images of a list, in their order; an iterator has given them out.
    """

    def __init__(
        self,
        message: str,
        failures: Mapping[str, str] | None = None,
        results: Sequence[PanopticResult] = (),
    ):
        super().__init__(message)
        self.failures = dict(failures or {})
        self.results = list(results)


class Failures:
    """Logs the errors of images, and keeps one sentence of each.

    Errors themselves would keep the pixels of their images in memory.

    Args:
        is_one: there is one image, whose error is raised.
    """

    def __init__(self, *, is_one: bool):
        self._is_one = is_one
        self._count = 0
        self._sentences: dict[str, str] = {}

    def add(self, where: str, error: Exception) -> None:
        """
        Args:
            where: names the image.
        """
        if self._is_one:
            raise error
        is_expected = is_user_error(error)
        why = sentence_of(error) if is_expected else f"{type(error).__name__}: {error}"
        sentence = why if where in why else f"'{where}': {why}"
        logger.warning("Left out: %s", sentence, exc_info=None if is_expected else error)
        self._count += 1
        self._sentences[where] = sentence

    def throw(self) -> None:
        """Raise FailedImagesError if there are any."""
        if self._sentences:
            first, more = next(iter(self._sentences.values())), self._count - 1
            others = f"; {more} more failed, see the log" if more else ""
            raise FailedImagesError(f"{first.rstrip('.')}{others}.", self._sentences)

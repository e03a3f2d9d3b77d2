"""Errors that users can fix."""

from ..utils.errors import UserError


class UnknownKeyError(UserError, KeyError):
    """A config key, data set or category that does not exist; Detectron2 raises KeyError there."""

    def __str__(self) -> str:  # KeyError would put quotes around the sentence.
        return self.args[0]

"""The error that a user can fix."""


class UserError(ValueError):
    """Bad input, described in one sentence that names the file, key or category at fault.

    Commands print the sentence alone. Every other error is a bug and keeps its traceback.
    """

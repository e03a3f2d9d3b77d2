"""Checks of constructor arguments."""

from .errors import UserError


def check_at_least(least: float, **values: float) -> None:
    """Raise :class:`UserError` for the first value, given by its name, that is below ``least``."""
    for name, value in values.items():
        if not value >= least:  # NaN is refused too
            raise UserError(f"{name} is {value}: it must be at least {least}.")


def check_between(low: float, high: float, **values: float) -> None:
    """Raise :class:`UserError` for the first value that is not above ``low`` and below ``high``."""
    for name, value in values.items():
        if not low < value < high:
            raise UserError(f"{name} is {value}: it must lie between {low} and {high}.")


def check_share(**values: float) -> None:
    """Raise :class:`UserError` for the first value that is below 0 or above 1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} is {value}: it must be at least 0 and at most 1.")


def check_choice(choices: tuple[str, ...], **values: str) -> None:
    """Raise :class:`UserError` for the first value that is none of ``choices``."""
    for name, value in values.items():
        if value not in choices:
            allowed = ", ".join(map(repr, choices))
            raise UserError(f"{name} is {value!r}: use one of {allowed}.")


def check_fraction(**values: float) -> None:
    """Raise :class:`UserError` for the first value that is below 0, or not below 1."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise UserError(f"{name} is {value}: it must be at least 0 and below 1.")


def check_channels(dim: int) -> None:
    """Raise :class:`UserError` unless group norms and position codes can have ``dim`` channels."""
    if dim % 8 or dim < 16:
        raise UserError(f"dim is {dim}: it must be a multiple of 8 and at least 16.")


def check_heads(dim: int, heads: int) -> None:
    """Raise :class:`UserError` unless ``heads`` attention heads divide ``dim`` channels."""
    check_at_least(1, heads=heads)
    if dim < heads or dim % heads:
        raise UserError(f"heads is {heads}: it must divide dim, which is {dim}.")

"""Numbers of things in sentences."""


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``, ``2 classes``."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{number} {noun}{ending}"

"""Levels of difficulty of the generated scenes."""

from dataclasses import dataclass

from ...utils.errors import UserError


@dataclass(frozen=True)
class Level:
    """Lengths and areas are pixels at 128x128 and grow with the picture.

    Attributes:
        things: fewest and most of them.
        radii: of the smallest and the largest; a thing covers about 2.25 r².
        min_visible_share: of an outline, and of a band before things cover it.
        min_visible_pixels: of anything.
        twin_share: things that lie beside or over one of the same class, about as large, in the
            same colour and texture.
        contrast: CIE Lab distance between the colour of a thing and what surrounds it.
        own_hues: every class of things has hues of its own. A short training then learns the
            classes and can go on to telling things of one class apart.
    """

    things: tuple[int, int]
    radii: tuple[float, float]
    min_visible_share: float
    min_visible_pixels: int
    twin_share: float
    contrast: float
    own_hues: bool


LEVELS = {
    "standard": Level(
        things=(2, 7),
        radii=(7.0, 25.0),
        min_visible_share=0.4,
        min_visible_pixels=60,
        twin_share=0.0,
        contrast=32.0,
        own_hues=False,
    ),
    "hard": Level(
        things=(5, 12),
        radii=(5.5, 36.0),
        min_visible_share=0.25,
        min_visible_pixels=45,
        twin_share=0.4,
        contrast=20.0,
        own_hues=True,
    ),
}


def scenes_folder(level: str) -> str:
    """Name of the folder of a level's data set, and of the data set before "_train" and "_val"."""
    return "scenes" if level == "standard" else f"scenes_{level}"


def find_level(name: str) -> Level:
    """The level of this name; UserError if there is none."""
    if name not in LEVELS:
        raise UserError(f"There is no level '{name}' of scenes: use {' or '.join(LEVELS)}.")
    return LEVELS[name]

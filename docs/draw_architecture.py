#!/usr/bin/env python
"""Draws docs/architecture.svg, the picture of Panoptic SegFormer in README.md.

The picture has a background of its own, so that it is legible on light and on dark pages.
"""

from html import escape
from pathlib import Path

WIDTH, HEIGHT = 1110, 372
INK, QUIET = "#1f2430", "#565d6d"
# Fill and outline of what all parts share, of things, of stuff, and of the rest.
SHARED, THINGS, STUFF = ("#dde8f8", "#4a78b5"), ("#fce3cf", "#c9712b"), ("#dcefd9", "#4f8f4a")
REST = ("#ebe4f5", "#7d5ba6")
HEADER = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 aria-label="Architecture of Panoptic SegFormer" font-family="Helvetica, Arial, sans-serif">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{QUIET}"/></marker></defs>
<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" fill="#fdfdfe"
 stroke="#d0d4dc"/>
"""
# Sky, ground, a house, its roof and the sun: in a photo's colours, and as segments.
PHOTO = ("#b9d7ee", "#8fae78", "#d9c7a8", "#a56a55", "#f4dc8c")
SEGMENTS = ("#7fb2e5", "#6fa96a", "#e08a3c", "#e08a3c", "#c95a8a")


def text(x: float, y: float, content: str, size: float = 14, colour: str = QUIET, weight="normal"):
    """A line of text, centred on ``x``, with its baseline at ``y``."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="middle">{escape(content)}</text>\n'
    )


def box(x: float, y: float, width: float, title: str, lines: list[str], colours=SHARED) -> str:
    """A part of the model, 96 high: a title over two lines of text."""
    fill, outline = colours
    drawn = (
        f'<rect x="{x}" y="{y}" width="{width}" height="96" rx="9" fill="{fill}" '
        f'stroke="{outline}" stroke-width="1.6"/>\n'
    )
    middle = x + width / 2
    drawn += text(middle, y + 31, title, 16, INK, "bold")
    return drawn + "".join(text(middle, y + 57 + 21 * i, line) for i, line in enumerate(lines))


def queries(x: float, y: float, label: str, colours: tuple[str, str]) -> str:
    """A row of learned queries with a label above, centred on ``x``."""
    squares = "".join(
        f'<rect x="{x - 63 + 18 * i}" y="{y}" width="14" height="14" rx="3" fill="{colours[1]}"/>'
        for i in range(7)
    )
    return text(x, y - 9, label) + squares + "\n"


def arrow(*points: tuple[float, float]) -> str:
    """A line through ``points`` that ends in a tip."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{QUIET}" stroke-width="1.8" '
        'marker-end="url(#tip)"/>\n'
    )


def scene(x: float, y: float, colours: tuple[str, ...], label: str) -> str:
    """A small picture of a house, 112x74, with a label below."""
    sky, ground, wall, roof, sun = colours
    return (
        f'<g transform="translate({x} {y})"><rect width="112" height="74" fill="{sky}"/>'
        f'<path d="M0 52 Q40 40 70 50 T112 46 V74 H0 z" fill="{ground}"/>'
        f'<rect x="22" y="34" width="34" height="26" fill="{wall}"/>'
        f'<path d="M17 36 L39 18 L61 36 z" fill="{roof}"/>'
        f'<circle cx="89" cy="19" r="10" fill="{sun}"/>'
        f'<rect width="112" height="74" fill="none" stroke="{QUIET}"/></g>\n'
    ) + text(x + 56, y + 94, label)


def draw() -> str:
    """The picture as the text of an SVG file."""
    top, middle, bottom, bus = 84, 164, 244, 212
    scores = "scores make masks"
    parts = [
        scene(18, middle + 11, PHOTO, "image"),
        box(160, middle, 128, "Backbone", ["features of", "stride 8, 16, 32"]),
        box(318, middle, 150, "Encoder", ["deformable", "attention, 6 layers"]),
        queries(590, 46, "300 thing queries", THINGS),
        box(502, top, 176, "Location decoder", ["6 layers: class", "and box of things"], THINGS),
        box(710, top, 196, "Thing mask decoder", ["4 blocks: attention", scores], THINGS),
        queries(590, bottom + 45, "one query per stuff class", STUFF),
        box(710, bottom, 196, "Stuff mask decoder", ["6 blocks: attention", scores], STUFF),
        box(950, top, 142, "Merging", ["whole masks,", "best first"], REST),
        scene(965, bottom + 11, SEGMENTS, "panoptic segments"),
        arrow((130, bus), (158, bus)),
        arrow((288, bus), (316, bus)),
        arrow((590, 64), (590, top - 2)),
        # The tokens of the encoder go to all three decoders.
        arrow((468, bus), (590, bus), (590, top + 98)),
        arrow((590, bus), (808, bus), (808, top + 98)),
        arrow((808, bus), (808, bottom - 2)),
        text(699, bus - 7, "image tokens"),
        arrow((678, top + 48), (708, top + 48)),
        arrow((660, bottom + 52), (708, bottom + 52)),
        arrow((906, top + 32), (948, top + 32)),
        arrow((906, bottom + 48), (927, bottom + 48), (927, top + 66), (948, top + 66)),
        arrow((1021, top + 96), (1021, bottom + 9)),
    ]
    return HEADER + "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")

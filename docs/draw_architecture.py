#!/usr/bin/env python
"""Draws docs/architecture.svg, the picture of the architectures in README.md.

The picture has a background of its own, so that it is legible on light and on dark pages.
"""

from html import escape
from pathlib import Path

WIDTH, HEIGHT = 1110, 1188
INK, QUIET = "#1f2430", "#565d6d"
# Fill and outline of the parts that pixels go through, of things, of stuff, of queries for both of
# them, and of the rest.
PIXELS, THINGS, STUFF = ("#dde8f8", "#4a78b5"), ("#fce3cf", "#c9712b"), ("#dcefd9", "#4f8f4a")
QUERIES, REST = ("#f8efc4", "#a88a1c"), ("#ebe4f5", "#7d5ba6")
HEADER = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 aria-label="Panoptic SegFormer, MaskFormer, Mask2Former, MaX-DeepLab and EoMT"
 font-family="Helvetica, Arial, sans-serif">
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{QUIET}"/></marker></defs>
<rect x="1" y="1" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="12" fill="#fdfdfe"
 stroke="#d0d4dc"/>
"""
# Sky, ground, a house, its roof and the sun: in a photo's colours, and as segments.
PHOTO = ("#b9d7ee", "#8fae78", "#d9c7a8", "#a56a55", "#f4dc8c")
SEGMENTS = ("#7fb2e5", "#6fa96a", "#e08a3c", "#e08a3c", "#c95a8a")


def text(
    x: float,
    y: float,
    content: str,
    size: float = 14,
    colour: str = QUIET,
    weight: str = "normal",
    anchor: str = "middle",
) -> str:
    """A line of text, centred on ``x`` unless anchored elsewhere, with its baseline at ``y``."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(content)}</text>\n'
    )


def box(x: float, y: float, width: float, title: str, lines: list[str], colours=PIXELS) -> str:
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


def arrow(*points: tuple[float, float], tip: bool = True) -> str:
    """A line through ``points`` that ends in a tip, or in another line."""
    path = " ".join(f"{x},{y}" for x, y in points)
    end = 'marker-end="url(#tip)"' if tip else ""
    return f'<polyline points="{path}" fill="none" stroke="{QUIET}" stroke-width="1.8" {end}/>\n'


def architecture(y: float, height: float, name: str, x: float = 300) -> str:
    """The frame around the parts of one architecture, with its name in the upper left."""
    frame = (
        f'<rect x="{x}" y="{y}" width="{916 - x}" height="{height}" rx="12" fill="#f3f4f8" '
        'stroke="#d0d4dc"/>\n'
    )
    return frame + text(x + 16, y + 24, name, 16, INK, "bold", anchor="start")


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


def panoptic_segformer(y: float) -> str:
    """Its parts between the backbone and postprocessing, in a frame that starts at ``y``."""
    top, middle, bottom, bus = y + 70, y + 150, y + 230, y + 198
    scores = "scores make masks"
    parts = [
        architecture(y, 340, "Panoptic SegFormer"),
        box(316, middle, 146, "Encoder", ["deformable", "attention, 6 layers"]),
        queries(580, y + 32, "300 thing queries", THINGS),
        box(492, top, 176, "Location decoder", ["6 layers: class", "and box of things"], THINGS),
        box(704, top, 196, "Thing mask decoder", ["4 blocks: attention", scores], THINGS),
        queries(580, bottom + 45, "one query per stuff class", STUFF),
        box(704, bottom, 196, "Stuff mask decoder", ["6 blocks: attention", scores], STUFF),
        arrow((580, y + 50), (580, top - 2)),
        # The tokens of the encoder go to all three decoders.
        arrow((462, bus), (580, bus), (580, top + 98)),
        arrow((580, bus), (802, bus), (802, top + 98)),
        arrow((802, bus), (802, bottom - 2)),
        text(691, bus - 7, "image tokens"),
        arrow((668, top + 48), (702, top + 48)),
        arrow((650, bottom + 52), (702, bottom + 52)),
    ]
    return "".join(parts)


def mask_classifier(y: float, name: str, pixel_decoder: list[str], decoder: list[str]) -> str:
    """MaskFormer or Mask2Former: two lines on each of its decoders, in a frame from ``y`` on."""
    top, below = y + 34, y + 148
    product = ["query embeddings", "times mask features"]
    parts = [
        architecture(y, 162, name),
        box(316, top, 146, "Pixel decoder", pixel_decoder),
        box(492, top, 176, "Query decoder", decoder, QUERIES),
        box(704, top, 196, "Class and mask", product, QUERIES),
        arrow((462, top + 48), (490, top + 48)),
        arrow((668, top + 48), (702, top + 48)),
        arrow((389, top + 96), (389, below), (802, below), (802, top + 98)),
    ]
    return "".join(parts)


def max_deeplab(y: float) -> str:
    """Its parts, with a backbone of its own: pixels above, the memory below."""
    top, middle, bottom = y + 34, y + 82, y + 150
    memory = bottom + 48
    product = ["softmax of f times g", "over the slots"]
    parts = [
        architecture(y, 262, "MaX-DeepLab", x=134),
        box(150, top, 136, "Backbone", ["axial attention,", "dual-path blocks"]),
        box(316, top, 146, "Decoder", ["up to stride 4,", "L = 0 to 2 stacks"]),
        box(492, top, 176, "Mask features g", ["of every pixel,", "stride 4"]),
        box(492, bottom, 176, "Slot embeddings f", ["and a class", "or void for each"], QUERIES),
        box(704, y + 92, 196, "Class and mask", product, QUERIES),
        queries(218, memory - 7, "", QUERIES),
        text(218, memory + 30, "memory of 128 slots"),
        arrow((286, middle), (314, middle)),
        arrow((462, middle), (490, middle)),
        # Pixels and memory read each other.
        *both_ways(218, top + 98, memory - 12),
        *both_ways(389, top + 98, memory - 2),
        text(381, memory - 22, "where L > 0", 13, anchor="end"),
        arrow((288, memory), (490, memory)),
        arrow((668, middle), (686, middle), (686, y + 124), (702, y + 124)),
        arrow((668, memory), (686, memory), (686, y + 156), (702, y + 156)),
    ]
    return "".join(parts)


def eomt(y: float) -> str:
    """Its parts, with the ViT in two: blocks of patches alone, and blocks that have the queries."""
    top, middle, below = y + 34, y + 82, y + 152
    product = ["query embeddings", "times upscaled patches"]
    parts = [
        architecture(y, 186, "EoMT", x=134),
        box(150, top, 136, "ViT blocks", ["of patches alone,", "20 of 24 in L"]),
        box(316, top, 146, "ViT blocks", ["of patches and", "queries, the last 4"], QUERIES),
        box(492, top, 176, "Upscaling", ["of the patches,", "to stride 4"]),
        box(704, top, 196, "Class and mask", product, QUERIES),
        queries(218, below - 7, "", QUERIES),
        text(218, below + 26, "200 queries"),
        arrow((286, middle), (314, middle)),
        arrow((462, middle), (490, middle)),
        arrow((668, middle), (702, middle)),
        arrow((288, below), (354, below), (354, top + 98)),
        arrow((424, top + 96), (424, below), (802, below), (802, top + 98)),
    ]
    return "".join(parts)


def both_ways(x: float, top: float, bottom: float) -> tuple[str, str]:
    """A vertical arrow with two tips."""
    return arrow((x, bottom), (x, top)), arrow((x, top), (x, bottom))


def draw() -> str:
    """The picture as the text of an SVG file."""
    first, second, third, fourth, fifth = 14, 366, 540, 714, 988
    centre = 348
    rows = (first + 198, second + 82, third + 82)  # where the features of the backbone go
    results = (first + 118, first + 278, second + 82, third + 82, fourth + 140, fifth + 82)
    own = (fourth + 82, fifth + 82)  # where the image goes into networks without that backbone
    maskformer = ["FPN, for COCO", "behind 6 layers"], ["6 layers, which read", "the coarsest map"]
    mask2former = (
        ["deformable", "attention, 6 layers"],
        ["9 layers: 3 scales,", "inside their own masks"],
    )
    results_of_all = ["one label a pixel,", "classes, instances"]
    parts = [
        panoptic_segformer(first),
        mask_classifier(second, "MaskFormer", *maskformer),
        mask_classifier(third, "Mask2Former", *mask2former),
        max_deeplab(fourth),
        eomt(fifth),
        scene(16, centre - 37, PHOTO, "image"),
        box(150, centre - 48, 124, "Backbone", ["features of", "stride 4 to 32"]),
        box(946, centre - 48, 148, "Postprocessing", results_of_all, REST),
        scene(964, centre + 84, SEGMENTS, "panoptic segments"),
        arrow((128, centre), (148, centre)),
        arrow((274, centre), (287, centre), tip=False),
        *(arrow((287, centre), (287, y), (314, y)) for y in rows),
        *(arrow((72, centre + 68), (72, y), (148, y)) for y in own),
        *(arrow((900, y), (927, y), (927, centre), tip=False) for y in results),
        arrow((927, centre), (944, centre)),
        arrow((1020, centre + 48), (1020, centre + 82)),
    ]
    return HEADER + "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")

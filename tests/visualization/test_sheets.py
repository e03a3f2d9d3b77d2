"""Sheets of pictures, and picture files."""

import numpy as np
import pytest
from PIL import Image

from d2_psformer.utils.files import write_picture
from d2_psformer.visualization import draw_sheet, thumbnail

WHITE = 255


def plain(height: int, width: int, colour) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def count(sheet: np.ndarray, colour) -> int:
    return int((sheet == np.array(colour, np.uint8)).all(axis=2).sum())


COLOURS = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]


@pytest.mark.parametrize("columns", [1, 2, 3, 9])
def test_every_picture_is_there_whole(columns):
    sizes = [(40, 60), (70, 50), (10, 80), (60, 60), (30, 90)]
    pictures = [plain(*size, colour) for size, colour in zip(sizes, COLOURS, strict=True)]
    sheet = draw_sheet(pictures, list("abcde"), columns=columns, title="all of them")
    for (height, width), colour in zip(sizes, COLOURS, strict=True):
        assert count(sheet, colour) == height * width


def test_pictures_are_in_reading_order():
    sheet = draw_sheet([plain(50, 50, c) for c in COLOURS[:4]], [""] * 4, columns=2)
    places = [np.argwhere((sheet == c).all(axis=2)).mean(axis=0) for c in COLOURS[:4]]
    assert places[0][0] == places[1][0] < places[2][0] == places[3][0]
    assert places[0][1] == places[2][1] < places[1][1] == places[3][1]


def test_title_and_captions_are_written():
    bare = draw_sheet([plain(200, 300, 128)], [""], columns=1)
    captioned = draw_sheet([plain(200, 300, 128)], ["a caption"], columns=1)
    titled = draw_sheet([plain(200, 300, 128)], [""], columns=1, title="a title")
    assert (captioned < 100).sum() > (bare < 100).sum() == 0
    assert titled.shape[0] > bare.shape[0]
    assert (titled[: titled.shape[0] - bare.shape[0]] < 100).any()


def test_a_long_caption_stays_below_its_picture():
    caption = "a very long caption " * 20
    sheet = draw_sheet([plain(80, 100, 128)] * 2, [caption, ""], columns=2)
    below = sheet[-20:]
    assert (below[:, :112] < 100).any()
    assert (below[:, 112:] == WHITE).all()


def test_captions_and_titles_are_in_other_scripts():
    """A letter without a shape in the font would be the same box as any other."""
    plate = [plain(200, 300, 128)]
    for place in ("caption", "title"):
        sheets = [
            draw_sheet(plate, [text if place == "caption" else ""], columns=1, title=title)
            for text, title in (("Ж", "Щ"), ("Щ", "Ж"))
        ]
        assert (sheets[0] != sheets[1]).any(), place


def test_thumbnails_shrink_and_never_grow():
    assert thumbnail(plain(400, 200, 7), 100).shape == (100, 50, 3)
    assert thumbnail(plain(40, 20, 7), 100).shape == (40, 20, 3)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_picture_files(tmp_path, extension):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = 10, 120, 240
    write_picture(tmp_path / "new" / f"picture{extension}", picture)
    with Image.open(tmp_path / "new" / f"picture{extension}") as image:
        np.testing.assert_allclose(np.asarray(image.convert("RGB")), picture, atol=4)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"picture{extension}"]

"""Damaged and strange image files: pixels, or one sentence that names the file."""

import io
import itertools
import warnings
from pathlib import Path

import numpy as np
import PIL
import pytest
from attack_cases import cases
from attack_files import damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from d2_psformer.api.images import to_rgb
from d2_psformer.data.images import read_pixels, upright_size
from d2_psformer.data.panoptic_png import read_panoptic_png
from d2_psformer.data.reading import read_class_map
from d2_psformer.deployment.images import ImageError, read_image
from d2_psformer.utils.errors import UserError

# The package sets this filter, but pytest resets all of them.
pytestmark = pytest.mark.filterwarnings(r"ignore::Warning:PIL\.")

SIZE = (13, 17)  # height and width
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")
# Extension, format, and the options with each of which images are written.
FORMATS = (
    ("png", "PNG", ({}, {"bits": 2}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6"})),
    ("jpg", "JPEG", ({}, {"progressive": True}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12"})),
    ("tif", "TIFF", ({}, {"compression": "tiff_lzw"}, {"compression": "packbits"})),
    ("webp", "WEBP", ({}, {"lossless": True})),
    ("gif", "GIF", ({}, {"transparency": 0})),
    ("bmp", "BMP", ({},)),
    ("ppm", "PPM", ({},)),
    ("jp2", "JPEG2000", ({},)),
)


def pictures() -> list[tuple[str, bytes]]:
    """Extension and content of a sound file of every kind that Pillow writes."""
    grey = np.random.default_rng(0).integers(0, 256, SIZE).astype(np.uint8)
    files = []
    for mode, (extension, kind, options) in itertools.product(MODES, FORMATS):
        image = Image.fromarray(np.stack([grey, grey.T.reshape(SIZE), 255 - grey], -1))
        image = image.convert("L").convert(mode) if mode in ("I;16", "I", "F") else image
        image = image if mode != "LAB" else Image.frombytes("LAB", image.size, image.tobytes())
        image = image.convert(mode)
        for option in options:
            file = io.BytesIO()
            try:
                image.save(file, kind, **option)
            except (OSError, ValueError, KeyError, SystemError):  # not in this format
                continue
            files.append((extension, file.getvalue()))
    return files


FILES = pictures()


def attempts(path: Path):
    """Everything that reads image files, and the NumPy type of what it returns."""
    yield lambda: deployed(path), np.uint8
    record = {"file_name": str(path), "sem_seg_file_name": str(path)}
    yield lambda: read_pixels(path, "BGR"), np.uint8
    yield lambda: read_panoptic_png(path), np.int32
    yield lambda: np.array(upright_size(path)), np.int64
    yield lambda: read_class_map(record, SIZE), np.int32


def deployed(path: Path) -> np.ndarray:
    """Without the package there are errors of the standard library alone."""
    try:
        with path.open("rb") as file:
            return read_image(file, str(path))
    except ImageError as error:
        assert "object at" not in str(error)
        raise UserError(str(error)) from error


@given(st.sampled_from(FILES), st.integers(0, 2**32))
@cases(150)
def test_damaged_files(tmp_path, file, seed):
    extension, content = file
    path = tmp_path / f"damaged.{extension}"
    path.write_bytes(damaged(content, seed))
    with warnings.catch_warnings(record=True) as caught:
        for attempt, dtype in attempts(path):
            try:
                result = attempt()
            except UserError as error:
                assert str(path) in str(error)
                assert "\n" not in str(error)
            else:
                assert (result.dtype, 0 in result.shape) == (dtype, False)
    assert [str(w) for w in caught] == []


@given(st.sampled_from(FILES), st.integers(0, 2**32))
@cases(50)
def test_damaged_files_that_the_user_has_opened(file, seed):
    try:
        image = Image.open(io.BytesIO(damaged(file[1], seed)))
    except Exception:  # the user's
        return
    try:
        assert to_rgb(image, "Image 7").dtype == np.uint8
    except UserError as error:
        assert "Image 7" in str(error)


def skip_if_unreadable(image: Image.Image) -> None:
    """Pillow 10 cannot read one of the TIFF files that it has written."""
    try:
        image.load()
    except OSError as error:
        if PIL.__version__ >= "11":
            raise
        pytest.skip(f"Pillow {PIL.__version__}: {error}")


@pytest.mark.parametrize("number", range(len(FILES)))
def test_sound_files_of_every_kind_are_read(tmp_path, number):
    extension, content = FILES[number]
    path = tmp_path / f"sound.{extension}"
    path.write_bytes(content)
    with Image.open(path) as image:
        skip_if_unreadable(image)
        is_measurement = image.mode == "F" or (image.mode == "I" and image.format == "TIFF")
    if is_measurement:
        with pytest.raises(UserError, match="black and white are not known"):
            read_pixels(path, "RGB")
        with pytest.raises(ImageError, match="black and white are not known"):
            read_image(path)
    else:
        pixels = read_pixels(path, "RGB")
        assert pixels.shape in ((*SIZE, 3), (*SIZE[::-1], 3))
        np.testing.assert_array_equal(read_image(path), pixels)

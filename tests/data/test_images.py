"""Pixels of image files: the right 8-bit value, or a sentence that says why there is none."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from d2_psformer.data.images import read_pixels
from d2_psformer.data.reading import read_image
from d2_psformer.utils.errors import UserError

EXIF_ORIENTATION = 274
# From black to white, and around the steps of the high byte.
GREY = np.array([[0, 1, 255, 256], [257, 32767, 32768, 65535]], np.uint16)
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 200, 99]]], np.uint8)


def thrice(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=-1)


def save(path, image, **options) -> str:
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path, **options)
    return str(path)


def refusal(path) -> str:
    with pytest.raises(UserError, match="black and white are not known") as caught:
        read_pixels(path, "RGB")
    message = str(caught.value)
    assert message.startswith(f"Image '{path}' has ") and message.endswith("8 bits a channel.")
    return message


@pytest.mark.parametrize("extension", ["png", "tif", "pgm", "jp2"])
def test_16_bit_grey_is_what_16_bit_colours_are(tmp_path, extension):
    if extension == "jp2" and not features.check("jpg_2000"):
        pytest.skip("Pillow without JPEG 2000")
    values = np.tile(GREY, (20, 10))
    grey, colours = str(tmp_path / f"grey.{extension}"), str(tmp_path / "colours.png")
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if extension == "jp2" else []
    cv2.imwrite(grey, values, lossless)
    cv2.imwrite(colours, thrice(values))
    read = read_pixels(grey, "RGB")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, thrice(values // 256))
    np.testing.assert_array_equal(read, read_pixels(colours, "RGB"))


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_16_bit_grey_of_either_byte_order(tmp_path, mode):
    stored = GREY.astype("<u2" if mode == "I;16" else ">u2").tobytes()
    path = save(tmp_path / "a.tif", Image.frombytes(mode, (4, 2), stored))
    np.testing.assert_array_equal(read_pixels(path, "RGB"), thrice(GREY // 256))


def test_text_pgm_of_another_maximum(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_text("P2 3 1 1023\n0 512 1023\n")
    assert read_pixels(path, "RGB")[0, :, 0].tolist() == [0, 128, 255]


def test_what_a_data_set_reads_is_the_same(tmp_path):
    path = save(tmp_path / "a.png", GREY)
    for image_format in ("RGB", "BGR"):
        read = read_image({"file_name": path, "height": 2, "width": 4}, image_format)
        np.testing.assert_array_equal(read, thrice(GREY // 256))


@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_floating_point_values_are_refused(tmp_path, scale):
    values = np.linspace(0, scale, 12, dtype=np.float32).reshape(3, 4)
    assert "floating-point values" in refusal(save(tmp_path / "a.tif", values))


@pytest.mark.parametrize("largest", [1, 255, 65535, 2**31 - 1])
def test_32_bit_grey_is_refused(tmp_path, largest):
    values = np.array([[0, largest]], np.int32)
    assert "more than 8 bits" in refusal(save(tmp_path / "a.tif", values))


def short_tag(tag: int, value: int) -> bytes:
    return struct.pack("<HHIHH", tag, 3, 1, value, 0)


@pytest.mark.parametrize(
    ("tag", "value", "other"), [(262, 1, 0), (258, 16, 12)], ids=["white is 0", "12 bits"]
)
def test_tiff_with_another_range_is_refused(tmp_path, tag, value, other):
    path = save(tmp_path / "a.tif", GREY)
    content = (tmp_path / "a.tif").read_bytes()
    assert content.count(short_tag(tag, value)) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(short_tag(tag, value), short_tag(tag, other)))
    assert "more than 8 bits" in refusal(path)


def test_16_bit_measurements_are_refused(tmp_path):
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 4", "NAXIS2  = 2", "END"]
    header = "".join(
        f"{card.partition('=')[0]}{card[8:10]}{card[10:].rjust(20)}".ljust(80) for card in cards
    )
    (tmp_path / "a.fits").write_bytes(header.ljust(2880).encode() + GREY.astype(">u2").tobytes())
    assert "more than 8 bits" in refusal(tmp_path / "a.fits")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_8_bit_modes(tmp_path, mode):
    is_grey = mode in ("1", "L", "LA")
    expected = thrice(np.array([[0, 255], [255, 0]], np.uint8)) if is_grey else COLOURS
    image = Image.fromarray(expected)
    image = image.quantize(4) if mode == "P" else image.convert(mode)
    path = save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), image)
    with Image.open(path) as stored:
        assert stored.mode == mode
    for image_format, step in (("RGB", 1), ("BGR", -1)):
        read = read_pixels(path, image_format)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, expected[:, :, ::step])


def test_white_of_lab_is_white(tmp_path):
    path = save(tmp_path / "a.tif", Image.new("LAB", (2, 3), (255, 128, 128)))
    np.testing.assert_allclose(read_pixels(path, "RGB"), np.full((3, 2, 3), 255.0), atol=1)


def test_transparency_is_left_out(tmp_path):
    pixels = np.dstack([COLOURS, [[0, 255], [128, 1]]]).astype(np.uint8)
    np.testing.assert_array_equal(read_pixels(save(tmp_path / "a.png", pixels), "RGB"), COLOURS)


@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_upright(tmp_path, extension, orientation):
    stored = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 9
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    upright = ImageOps.exif_transpose(
        Image.open(save(tmp_path / "expected.png", stored, exif=exif))
    )
    options = {"lossless": True} if extension == "webp" else {}
    read = read_pixels(save(tmp_path / f"a.{extension}", stored, exif=exif, **options), "RGB")
    np.testing.assert_array_equal(read, upright)
    assert read.flags.c_contiguous


def test_16_bit_grey_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    read = read_pixels(save(tmp_path / "a.png", GREY, exif=exif), "RGB")
    np.testing.assert_array_equal(read, thrice(np.rot90(GREY, -1) // 256))


def test_broken_exif_does_no_harm(tmp_path):
    for name, exif in {"text": b"Exif\0\0no exif at all", "cut": b"Exif\0\0II*\0\x08\0\0"}.items():
        path = save(tmp_path / f"{name}.png", COLOURS, exif=exif)
        np.testing.assert_array_equal(read_pixels(path, "RGB"), COLOURS)


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"format 'L' is unknown: set INPUT\.FORMAT RGB or BGR"):
        read_pixels(save(tmp_path / "a.png", COLOURS), "L")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UserError, match=r"none\.png' does not exist"):
        read_pixels(tmp_path / "none.png", "RGB")
    save(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(UserError, match=rf"{name}' cannot be decoded \("):
            read_pixels(tmp_path / name, "RGB")

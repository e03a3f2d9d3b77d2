"""Image files that Pillow cannot open, or should not."""

import io
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image

from d2_psformer.api.images import to_rgb
from d2_psformer.data.images import is_rotated, read_pixels, upright_size
from d2_psformer.data.panoptic_png import read_panoptic_png
from d2_psformer.deployment.images import ImageError, read_image
from d2_psformer.utils.errors import UserError


def png_chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def blank_png(width: int, height: int, rows: int | None = None) -> bytes:
    """A small file of a large image: 1 bit a pixel, all of them 0; it may end after some rows."""
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)
    pixels = zlib.compress(bytes((rows or height) * (1 + (width + 7) // 8)), 9)
    chunks = png_chunk(b"IHDR", header), png_chunk(b"PLTE", bytes(6)), png_chunk(b"IDAT", pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff_with_text_as_offset() -> bytes:
    """Pillow raises TypeError for it."""
    file = io.BytesIO()
    Image.new("L", (4, 3)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    directory = struct.unpack("<I", content[4:8])[0]
    entry = content.index(struct.pack("<H", 273), directory)  # StripOffsets
    content[entry + 2] = 2  # ASCII
    return bytes(content)


def test_a_damaged_tiff(tmp_path):
    path = tmp_path / "damaged.tif"
    path.write_bytes(tiff_with_text_as_offset())
    with pytest.raises(UserError, match=r"Image '.*damaged\.tif' cannot be decoded \("):
        read_pixels(path, "RGB")
    image = Image.open(io.BytesIO(tiff_with_text_as_offset()))
    with pytest.raises(UserError, match=r"Image 3 cannot be decoded \("):
        to_rgb(image, "Image 3")


@pytest.mark.filterwarnings(r"ignore::Warning:PIL\.")
@pytest.mark.parametrize("side", [13_000, 30_000])  # Pillow refuses the second
def test_a_small_file_of_a_huge_image(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(blank_png(side, side, rows=1))
    for read in (lambda p: read_pixels(p, "RGB"), upright_size, is_rotated, read_panoptic_png):
        with pytest.raises(UserError, match=r"bomb\.png' has .* but 100 million pixels are the"):
            read(path)
    with pytest.raises(ImageError, match=r"Image '.*bomb\.png' has .* but 100 million pixels are"):
        read_image(path)


def test_a_wide_image_is_read(tmp_path):
    path = tmp_path / "wide.png"
    path.write_bytes(blank_png(20_000, 40))
    assert read_pixels(path, "RGB").shape == (40, 20_000, 3)


def test_postscript_is_not_run(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match=r"a\.jpg' is a program in PostScript: save it as PNG"):
        read_pixels(path, "RGB")


def test_names_that_no_file_can_have(tmp_path):
    with pytest.raises(UserError, match=r"a\.jpg' cannot be read \(File name too long\)"):
        read_pixels(tmp_path / f"{'a' * 300}.jpg", "RGB")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_pixels(tmp_path, "RGB")


def test_pillows_warnings_do_not_reach_the_user(tmp_path):
    """In a process of its own: pytest has filters of its own."""
    (tmp_path / "large.png").write_bytes(blank_png(9500, 9500, rows=1))  # Pillow: "a bomb?"
    Image.new("P", (4, 4)).save(tmp_path / "palette.png", transparency=b"\0\1")
    (tmp_path / "cut.tif").write_bytes(tiff_with_text_as_offset()[:-20])
    code = (
        "import sys\n"
        "from d2_psformer.data.images import read_pixels, upright_size\n"
        "print(upright_size(sys.argv[1]), read_pixels(sys.argv[2], 'RGB').shape)\n"
        "try: read_pixels(sys.argv[3], 'RGB')\n"
        "except ValueError: print('refused')\n"
    )
    files = [str(tmp_path / name) for name in ("large.png", "palette.png", "cut.tif")]
    command = [sys.executable, "-c", code, *files]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout == "(9500, 9500) (4, 4, 3)\nrefused\n"

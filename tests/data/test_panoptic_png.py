import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from d2_psformer.data import read_panoptic_png, write_panoptic_png
from d2_psformer.data.panoptic_png import MAX_SEGMENT_ID, ids_to_rgb
from d2_psformer.utils.errors import UserError

id_maps = hnp.arrays(
    st.sampled_from([np.int32, np.int64, np.uint32]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.integers(0, MAX_SEGMENT_ID),
)


@settings(max_examples=50, deadline=None)
@given(ids=id_maps)
def test_round_trip(ids, tmp_path_factory):
    path = tmp_path_factory.mktemp("png") / "ids.png"
    write_panoptic_png(path, ids)
    back = read_panoptic_png(path)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, ids)


@settings(max_examples=50, deadline=None)
@given(ids=id_maps)
def test_codec_equals_panopticapi(ids, tmp_path_factory):
    utils = pytest.importorskip("panopticapi.utils", reason="panopticapi is not installed")
    ids = ids.astype(np.int64)
    np.testing.assert_array_equal(utils.id2rgb(ids), ids_to_rgb(ids))
    path = tmp_path_factory.mktemp("png") / "ids.png"
    Image.fromarray(utils.id2rgb(ids)).save(path)
    np.testing.assert_array_equal(utils.rgb2id(np.array(Image.open(path))), read_panoptic_png(path))


def test_byte_order_is_that_of_coco(tmp_path):
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(tmp_path / "a.png")
    assert read_panoptic_png(tmp_path / "a.png").tolist() == [[1 + 256 * 2 + 65536 * 3]]


def test_palette_and_alpha_count_by_colour(tmp_path):
    ids = np.array([[0, 70000, 5], [5, 70000, 300]])
    rgb = Image.fromarray(ids_to_rgb(ids))
    rgb.quantize(8).save(tmp_path / "palette.png")
    rgb.convert("RGBA").save(tmp_path / "alpha.png")
    assert Image.open(tmp_path / "palette.png").mode == "P"
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "palette.png"), ids)
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "alpha.png"), ids)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_grey_value_is_the_id(tmp_path, dtype, largest):
    grey = np.array([[0, 1], [100, largest]], dtype)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_panoptic_png(tmp_path / "grey.png"), grey)


def _png_of_16_bit_rgb() -> bytes:
    """Pillow cannot write one: 1 x 1 pixels, three channels of 16 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes([1, 2, 3, 4, 5, 6]))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def test_kinds_that_hold_no_ids_are_refused(tmp_path):
    (tmp_path / "deep.png").write_bytes(_png_of_16_bit_rgb())
    Image.new("LA", (2, 2)).save(tmp_path / "grey_alpha.png")
    Image.new("1", (2, 2)).save(tmp_path / "bits.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "lossy.png", format="JPEG")
    for name, reason in {
        "deep.png": "RGB with 16 bits",
        "grey_alpha.png": "grey with alpha",
        "bits.png": "grey with 1 bits",
        "lossy.png": "no PNG",
    }.items():
        with pytest.raises(UserError, match=rf"{name}' is {reason}.*8-bit RGB"):
            read_panoptic_png(tmp_path / name)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none.png' does not exist"):
        read_panoptic_png(tmp_path / "none.png")
    noise = np.random.default_rng(0).integers(0, MAX_SEGMENT_ID, (50, 50))
    write_panoptic_png(tmp_path / "cut.png", noise)
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut.png' cannot be decoded"):
        read_panoptic_png(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"cut.png' is no PNG"):
        read_panoptic_png(tmp_path / "cut.png")


def test_a_flipped_bit_is_never_read_as_another_map(tmp_path):
    """Pillow, for one, does not compare the checksums of the data."""
    ids = np.arange(3000).reshape(50, 60) // 70
    write_panoptic_png(tmp_path / "ids.png", ids)
    whole, refused = (tmp_path / "ids.png").read_bytes(), 0
    for place in range(33, len(whole)):  # behind the header
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "damaged.png").write_bytes(damaged)
        try:
            np.testing.assert_array_equal(read_panoptic_png(tmp_path / "damaged.png"), ids)
        except UserError:
            refused += 1
    assert refused > 0.9 * (len(whole) - 33)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([[MAX_SEGMENT_ID + 1]]),
        np.array([[-1]]),
        np.array([[0.5]]),
        np.zeros((1, 2, 3), np.int32),
    ],
)
def test_what_a_png_cannot_hold_is_not_written(tmp_path, ids):
    write_panoptic_png(tmp_path / "a.png", np.array([[7]]))
    with pytest.raises(ValueError, match=r"a.png"):
        write_panoptic_png(tmp_path / "a.png", ids)
    assert read_panoptic_png(tmp_path / "a.png").tolist() == [[7]]
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]

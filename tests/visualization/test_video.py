"""Videos: written, and read back."""

import numpy as np
import pytest

from d2_psformer.visualization import Video, write_video


def frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Plain pictures that go from red to blue."""
    shares = np.linspace(0, 1, count)
    return [np.full((height, width, 3), (220 * (1 - s), 40, 220 * s), np.uint8) for s in shares]


def test_frames_come_back_in_order_and_colour(tmp_path):
    with write_video(tmp_path / "new" / "film.mp4", 10) as video:
        for frame in frames(6):
            video.add(frame)
    found = Video(tmp_path / "new" / "film.mp4")
    assert found.rate == pytest.approx(10)
    assert found.length == 6
    for frame, expected in zip(found, frames(6), strict=True):
        assert frame.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), expected.mean(axis=(0, 1)), atol=12)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["film.mp4"]


def test_it_can_be_read_twice(tmp_path):
    with write_video(tmp_path / "film.mp4", 10) as video:
        for frame in frames(3):
            video.add(frame)
    found = Video(tmp_path / "film.mp4")
    assert len(list(found)) == len(list(found)) == 3


def test_odd_sides_get_a_pixel(tmp_path):
    with write_video(tmp_path / "film.mp4", 10) as video:
        for frame in frames(2, 51, 67):
            video.add(frame)
    assert next(iter(Video(tmp_path / "film.mp4"))).shape == (52, 68, 3)


def test_a_stop_half_way_leaves_the_old_file(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt), write_video(tmp_path / "film.mp4", 10) as video:
        video.add(frames(2)[0])
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    assert (tmp_path / "film.mp4").read_bytes() == b"the old one"


def test_a_video_without_frames_is_not_written(tmp_path):
    with write_video(tmp_path / "film.mp4", 10):
        pass
    assert not list(tmp_path.iterdir())


def test_no_video(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"no video at all")
    with pytest.raises(ValueError, match=r"film\.mp4' cannot be read"):
        Video(tmp_path / "film.mp4")

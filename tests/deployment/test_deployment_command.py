"""The command ``python -m d2_psformer.deployment``."""

import numpy as np
from PIL import Image

from d2_psformer.deployment import __main__ as command
from d2_psformer.deployment.postprocessing import Result


class FakeModel:
    """Finds nothing, and fails with images of one row."""

    def __init__(self, path, threads):
        pass

    def __call__(self, pixels: np.ndarray) -> Result:
        if len(pixels) == 1:
            raise ValueError("The masks have NaN.")
        return Result(np.zeros(pixels.shape[:2], np.int32), [], None)


def test_an_image_that_fails_does_not_end_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "Model", FakeModel)
    paths = [
        tmp_path / name
        for name in ("model.onnx", "measured.tif", "notes.jpg", "photo.png", "row.png")
    ]
    for path in paths[:3]:
        path.write_bytes(b"no image")
    Image.new("F", (4, 3)).save(paths[1])
    Image.new("L", (4, 3)).save(paths[3])
    Image.new("L", (4, 1)).save(paths[4])
    assert command.main([*map(str, paths), "--output", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    measured, notes, row = told.err.splitlines()
    assert "measured.tif' has floating-point values" in measured
    assert "notes.jpg' cannot be decoded" in notes
    assert row.endswith("row.png': The masks have NaN.")
    assert "photo.png: 0 found" in told.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "photo_ids.png",
        "photo_segments.json",
    }

"""Files that are no model of ``psformer export`` are named, and networks that give no numbers."""

import json

import numpy as np
import pytest

from d2_psformer.deployment import Model
from d2_psformer.deployment.model import _NEEDED, KEY

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def onnx_file(settings: str | None) -> bytes:
    """A network whose masks are its images."""
    images, masks = (onnx.helper.make_tensor_value_info(x, 1, [1]) for x in ("images", "masks"))
    sizes = onnx.helper.make_tensor_value_info("sizes", 7, [1])
    node = onnx.helper.make_node("Identity", ["images"], ["masks"])
    graph = onnx.helper.make_graph([node], "g", [images, sizes], [masks])
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    if settings is not None:
        onnx.helper.set_model_props(model, {KEY: settings})
    return model.SerializeToString()


@pytest.mark.parametrize("settings", [None, "{", "[]", "{}", '{"stride": 4}', "[" * 10**5])
def test_other_settings(tmp_path, settings):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file(settings))
    with pytest.raises(ValueError, match=r"model\.onnx' is no file of `psformer export`"):
        Model(path)


@pytest.mark.parametrize("content", [b"", b"hello\nworld", bytes(3000)])
def test_other_files(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.onnx' cannot be read by onnxruntime"):
        Model(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number(tmp_path, value):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file(json.dumps(dict.fromkeys(_NEEDED))))
    model, size = Model(path), np.ones(1, np.int64)
    assert model.run(np.float32([2]), size) == {"masks": 2}
    with pytest.raises(ValueError, match="output 'masks' has NaN or infinity"):
        model.run(np.float32([value]), size)

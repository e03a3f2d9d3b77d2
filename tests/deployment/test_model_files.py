"""Files that are no model of ``psformer export`` are named, and networks that give no numbers."""

import json

import numpy as np
import pytest

from d2_psformer.deployment import Model
from d2_psformer.deployment.model import _NEEDED, KEY

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def onnx_file(settings: str | None) -> bytes:
    """A network whose masks are the logarithms of its images."""
    shape = [1, 3, None, None]
    images, masks = (onnx.helper.make_tensor_value_info(x, 1, shape) for x in ("images", "masks"))
    sizes = onnx.helper.make_tensor_value_info("sizes", 7, [1, 2])
    node = onnx.helper.make_node("Log", ["images"], ["masks"])
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


def test_what_is_no_number(tmp_path):
    settings = dict.fromkeys(_NEEDED) | {
        "resize": {"short": 0, "long": 0, "aligned": False}, "multiple": 1, "more": 0
    }  # fmt: skip
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_file(json.dumps(settings)))
    black = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="output 'masks' has NaN or infinity"):
        Model(path)(black)

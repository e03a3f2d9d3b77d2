"""Files that are no model of ``psformer export`` are named."""

import pytest

from d2_psformer.deployment import Model
from d2_psformer.deployment.model import KEY

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def onnx_file(settings: str | None) -> bytes:
    value = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in ("images", "y")]
    node = onnx.helper.make_node("Identity", ["images"], ["y"])
    graph = onnx.helper.make_graph([node], "g", value[:1], value[1:])
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

"""``psformer export``."""

import pytest
from tiny_model import TOYS, write_tiny_model

from d2_psformer.checkpoint import read_slim
from d2_psformer.cli.main import main
from d2_psformer.d2.data import MetadataCatalog


@pytest.fixture
def tiny(tmp_path):
    config, checkpoint = map(str, write_tiny_model(tmp_path))
    yield config, checkpoint
    if TOYS["name"] in MetadataCatalog.list():
        MetadataCatalog.remove(TOYS["name"])


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    return f"{ended.value}{capsys.readouterr().err}"


def test_a_slim_file_by_config_and_weights(tiny, tmp_path, capsys):
    config, checkpoint = tiny
    file = tmp_path / "new" / "model.safetensors"
    assert main(["export", config, "--weights", checkpoint, "--output", str(file)]) == 0
    assert read_slim(file)["metadata"]["thing_classes"] == TOYS["thing_classes"]
    assert f"Written: {file}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["model.pth", "--output", "model.bin"], "has none of the suffixes .onnx, .pt2"),
        (["model.pth", "--output", "model.pt2", "--int8"], "--int8 is for ONNX"),
        (["model.pth", "--output", "model.onnx", "--size", "480"], "'480' is not HxW"),
        (["no_such.pth", "--output", "model.onnx"], "no_such.pth"),
        (["scenes/no_such", "--output", "model.onnx"], "scenes/no_such"),
    ],
)
def test_wrong_arguments_are_answered_in_a_sentence(arguments, sentence, capsys):
    assert sentence in refused(capsys, *arguments)


def test_a_model_of_instances_alone_is_refused(tiny, tmp_path, capsys):
    config, checkpoint = tiny
    file, node = tmp_path / "model.onnx", "MODEL.POSTPROCESSING"
    options = [f"{node}.PANOPTIC_ON", "False", f"{node}.INSTANCE_ON", "True"]
    arguments = [config, "--weights", checkpoint, "--output", str(file), "--opts", *options]
    assert "set MODEL.POSTPROCESSING.PANOPTIC_ON True" in refused(capsys, *arguments)
    assert not file.exists()

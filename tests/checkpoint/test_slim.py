"""Slim files: weights, config and classes in one safetensors file."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_model import TOYS, write_tiny_model

from d2_psformer.checkpoint import read_checkpoint, read_slim, write_slim
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.engine import Predictor, load_config
from d2_psformer.utils.errors import UserError

WEIGHTS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2), "a.count": torch.tensor(7)}


def test_all_is_read_back_with_the_ids_of_classes_as_numbers(tmp_path):
    path = tmp_path / "model.safetensors"
    metadata = {**TOYS, "stuff_dataset_id_to_contiguous_id": {"sky": 2, "7": 3, 7: 4}}
    write_slim(path, WEIGHTS, "MODEL: {}\n", metadata)
    for read in (read_slim, read_checkpoint):
        content = read(path)
        assert content["config"] == "MODEL: {}\n"
        assert content["metadata"] == metadata
        assert content["model"].keys() == WEIGHTS.keys()
        assert all(torch.equal(content["model"][name], w) for name, w in WEIGHTS.items())


def test_any_other_program_can_read_it(tmp_path):
    path = tmp_path / "model.safetensors"
    write_slim(path, WEIGHTS, "MODEL: {}\n", TOYS)
    with safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"
        assert {*file.keys()} == {*WEIGHTS}


def test_weights_that_share_memory_or_are_views(tmp_path):
    path, shared = tmp_path / "model.safetensors", torch.arange(6.0).view(2, 3)
    write_slim(path, {"a": shared, "b": shared, "c": shared.T}, "", TOYS)
    content = read_slim(path)["model"]
    assert torch.equal(content["b"], shared) and torch.equal(content["c"], shared.T)


def test_plain_files_have_weights_alone(tmp_path):
    save_file(WEIGHTS, tmp_path / "plain.safetensors", {"format": "pt"})
    assert read_slim(tmp_path / "plain.safetensors").keys() == {"model"}


def test_a_damaged_file_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"model\.safetensors' cannot be read"):
        read_checkpoint(path)


def test_a_predictor_takes_it(tmp_path):
    config, checkpoint = write_tiny_model(tmp_path)
    content, slim = read_checkpoint(str(checkpoint)), tmp_path / "slim.safetensors"
    cfg = load_config(str(config))
    write_slim(slim, content["model"], cfg.dump(), content["metadata"])
    image = torch.randint(0, 256, (40, 60, 3), dtype=torch.uint8).numpy()
    results = []
    for path in (checkpoint, slim):
        cfg.MODEL.WEIGHTS = str(path)
        results.append(Predictor(cfg)(image)["panoptic_seg"])
        MetadataCatalog.remove(TOYS["name"])
    assert torch.equal(results[0][0], results[1][0]) and results[0][1] == results[1][1]

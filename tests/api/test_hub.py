"""Models go to a hub and come back; the hub is a folder."""

import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub.errors import RepositoryNotFoundError

import d2_psformer
from d2_psformer.utils.errors import UserError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The folder in which a repository owner/name is OWNER/NAME."""
    root = tmp_path / "hub"

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, *, private, exist_ok):
            if self.token == "expired":
                raise PermissionError("401 Client Error\nLog in again.")
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id, folder_path):
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        if revision or not (root / repo_id).is_dir():
            response = type("Response", (), {"headers": {}, "request": None})()
            raise RepositoryNotFoundError(f"404: no {repo_id}\nSee the docs.", response=response)
        return str(root / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return root


def test_a_model_comes_back_as_it_was(hub, model, picture):
    assert d2_psformer.push(model, "me/toys") == "https://huggingface.co/me/toys"
    again = d2_psformer.load("hf:me/toys", device="cpu", dtype="float32")
    np.testing.assert_array_equal(again.predict(picture).panoptic, model.predict(picture).panoptic)
    assert again.classes == model.classes
    card = (hub / "me" / "toys" / "README.md").read_text()
    assert 'd2_psformer.load("hf:me/toys")' in card and "ball, box, floor, wall" in card


def test_the_card_names_things_and_stuff_that_are_listed_apart(hub, model):
    content = torch.load(model.cfg.MODEL.WEIGHTS, weights_only=True)
    apart = {**content["metadata"], "thing_classes": ["ball", "box"]}
    apart["stuff_classes"] = ["floor", "wall"]
    apart = {key: value for key, value in apart.items() if "colors" not in key}
    path = Path(hub.parent, "model.pth")
    torch.save({**content, "metadata": apart, "config": model.cfg.dump()}, path)
    d2_psformer.push(path, "me/toys")
    card = (hub / "me" / "toys" / "README.md").read_text()
    assert "of 4 classes" in card and "ball, box, floor, wall" in card


def test_paths_of_this_machine_stay_here(hub, model):
    cfg = model.cfg.clone()
    cfg.OUTPUT_DIR, cfg.DATASETS.REGISTER = "/home/me/output", [["a", "/home/me/b", "c", "d"]]
    content = torch.load(cfg.MODEL.WEIGHTS, weights_only=True)
    path = Path(hub.parent, "model.pth")
    torch.save({**content, "config": cfg.dump(), "optimizer": {"big": torch.zeros(9)}}, path)
    d2_psformer.push(path, "hf:me/toys")
    again = d2_psformer.api.configs.model_config("hf:me/toys")
    assert "/home/me" not in again.dump() and again.OUTPUT_DIR == "output"


def test_refusals_are_one_sentence(hub, model, checkpoint):
    with pytest.raises(UserError, match=r"^'hf:me/none' cannot be downloaded: 404: no me/none$"):
        d2_psformer.load("hf:me/none")
    with pytest.raises(UserError, match=r"^'me/toys' cannot be uploaded: 401 Client Error$"):
        d2_psformer.push(model, "me/toys", token="expired")
    with pytest.raises(UserError, match=r"'nowhere\.pth' does not exist"):
        d2_psformer.push("nowhere.pth", "me/toys")
    (hub / "me" / "empty").mkdir(parents=True)
    with pytest.raises(UserError, match="has no checkpoint"):
        d2_psformer.load("hf:me/empty")


def test_weights_without_classes_are_not_uploaded(hub, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    del content["metadata"]
    torch.save(content, tmp_path / "bare.pth")
    with pytest.raises(UserError, match="does not list its classes"):
        d2_psformer.push(tmp_path / "bare.pth", "me/toys")
    assert not hub.exists()

import numpy as np
import pytest
import torch
from tiny_model import write_tiny_model

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.engine import load_config


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Config and checkpoint of an untrained model of TOYS; the checkpoint has no config inside."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory):
    """The same weights with their config inside, as the trainer writes them."""
    config, weights = tiny
    path = tmp_path_factory.mktemp("whole") / "model.pth"
    content = torch.load(weights, weights_only=True)
    torch.save({**content, "config": load_config(str(config)).dump()}, path)
    return path


@pytest.fixture(scope="session")
def model(checkpoint):
    import d2_psformer

    return d2_psformer.load(checkpoint, device="cpu", dtype="float32")


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def _forget_toys():
    yield
    if "toys_train" in MetadataCatalog.list():
        MetadataCatalog.remove("toys_train")

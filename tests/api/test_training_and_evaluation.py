"""From a data set to a trained model and its figures, by two calls."""

import pytest
import yaml
from small_data import write_semantic

import d2_psformer
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.utils.errors import UserError

CONFIG = """
MODEL:
  META_ARCHITECTURE: PerPixelBaseline
  BACKBONE: {NAME: TimmBackbone, TIMM_NAME: test_resnet, FREEZE_AT: 0}
  PIXEL_DECODER: {IN_FEATURES: [res2, res3, res4, res5], DIM: 16, MASK_DIM: 16, LAYERS: 0}
  POSTPROCESSING: {PANOPTIC_ON: False, SEMANTIC_ON: True}
INPUT: {FORMAT: RGB, MIN_SIZE_TRAIN: [32], MIN_SIZE_TEST: 32}
SOLVER: {IMS_PER_BATCH: 2, MAX_ITER: 2, WARMUP_ITERS: 0}
DATALOADER: {NUM_WORKERS: 0}
SEED: 1
VERSION: 2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_semantic(folder)
    (folder / "config.yaml").write_text(CONFIG)
    entry = ["images", "labels", ["sky", "road", "tree"]]
    datasets = {
        "REGISTER": [["own_train", *entry], ["own_val", *entry]],
        "TRAIN": ["own_train"],
        "TEST": ["own_val"],
    }
    (folder / "data.yaml").write_text(yaml.safe_dump({"DATASETS": datasets}))
    yield folder
    for name in ("own_train", "own_val"):
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


@pytest.fixture(scope="module")
def model(folder):
    return d2_psformer.train(
        folder / "config.yaml",
        data=folder / "data.yaml",
        output=folder / "output",
        device="cpu",
        options={"SOLVER.MAX_ITER": 1},
    )


def test_training_returns_the_model_and_its_figures(folder, model):
    assert (folder / "output" / "model_final.pth").is_file()
    assert model.classes.names == ("sky", "road", "tree")
    assert 0 <= model.results["sem_seg"]["mIoU"] <= 100
    result = model.predict(folder / "images" / "0.jpg")
    assert {s.class_name for s in result.segments} <= {"sky", "road", "tree"}


def test_evaluation_gives_the_figures_of_the_training(folder, model):
    options = {"data": folder, "output": folder / "again"}
    assert model.evaluate(**options)["sem_seg"] == pytest.approx(model.results["sem_seg"])
    found = d2_psformer.evaluate(folder / "output", device="cpu", **options)
    assert found["sem_seg"] == pytest.approx(model.results["sem_seg"])


def test_what_is_wrong_is_told(folder, model):
    with pytest.raises(UserError, match="'nowhere' does not exist"):
        d2_psformer.train("nowhere")
    with pytest.raises(UserError, match=r"no_data\.yaml' does not exist"):
        model.evaluate("no_data.yaml")
    with pytest.raises(UserError, match=r"DATASETS\.TEST is empty"):
        model.evaluate(options={"DATASETS.TEST": ()})
    with pytest.raises(UserError, match="device is 'gpu'"):
        d2_psformer.train(folder / "config.yaml", data=folder, device="gpu")

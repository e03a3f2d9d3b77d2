"""Semantic and instance data from the config to a trained checkpoint, figures and predictions."""

import json
import re

import numpy as np
import pytest
from small_data import H, W, write_instances, write_semantic

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_from_config
from d2_psformer.engine import Predictor, Trainer, evaluate, load_config
from d2_psformer.engine.data_sets import align_data_sets
from d2_psformer.report import write_report
from d2_psformer.utils.errors import UserError

YAML = """
MODEL:
  META_ARCHITECTURE: {architecture}
  DEVICE: cpu
  BACKBONE: {{NAME: TimmBackbone, TIMM_NAME: resnet10t, FREEZE_AT: 0}}
  PIXEL_DECODER: {{IN_FEATURES: [res2, res3, res4, res5], NUM_LEVELS: 3, DIM: 16, MASK_DIM: 16,
                   HEADS: 2, LAYERS: 1, DIM_FEEDFORWARD: 16}}
  TRANSFORMER_DECODER: {{NUM_QUERIES: 5, HEADS: 2, LAYERS: 3, DIM_FEEDFORWARD: 16}}
  LOSS: {{NUM_POINTS: 16}}
  POSTPROCESSING: {{PANOPTIC_ON: False, {switch}: True, MERGING: mask2former}}
DATASETS:
  REGISTER: {register}
  TRAIN: [own_train]
  TEST: [own_val]
INPUT: {{FORMAT: RGB, MIN_SIZE_TRAIN: [32], MIN_SIZE_TEST: 32}}
SOLVER: {{IMS_PER_BATCH: 2, MAX_ITER: 2, WARMUP_ITERS: 0}}
DATALOADER: {{NUM_WORKERS: 0}}
SEED: 1
OUTPUT_DIR: {output}
VERSION: 2
"""


def config(tmp_path, entries, switch, architecture="Mask2Former"):
    path = tmp_path / "config.yaml"
    output = tmp_path / "output"
    register = json.dumps(entries)
    path.write_text(
        YAML.format(switch=switch, register=register, output=output, architecture=architecture)
    )
    cfg = load_config(str(path))
    register_from_config(cfg)
    return cfg


def forget() -> None:
    for name in ("own_train", "own_val"):
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


def report_shows(cfg, results) -> None:
    table, path = write_report([cfg.clone(), cfg.clone()], num_images=1)
    task, key = ("sem_seg", "mIoU") if "sem_seg" in results else ("segm", "AP")
    assert f"{results[task][key]:.1f}" in table
    page = path.read_text()
    assert page.count('data-layer="truth"') == 1
    assert ('id="sizes"' in page) == (task == "segm")
    headings = re.findall('<button type="button">(.*?)</button></th>', page)
    main = "IoU" if task == "sem_seg" else "AP"
    assert headings[:5] == ["class", "kind", f"{main} A", f"{main} B", f"{main} change"]
    assert headings.count("pixels") == (3 if task == "sem_seg" else 2)  # two lists of pairs


def train_evaluate_predict(cfg) -> tuple[dict, dict]:
    """The figures at the end of the training, those of its checkpoint too, and a prediction."""
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    results = trainer.train()
    report_shows(cfg, results)
    cfg.MODEL.WEIGHTS = f"{cfg.OUTPUT_DIR}/model_final.pth"
    again = evaluate(cfg)
    for task, figures in results.items():
        assert again[task] == pytest.approx(figures, nan_ok=True)
    cfg.DATASETS.REGISTER = []
    forget()  # only the checkpoint knows the classes now
    return results, Predictor(cfg)(np.zeros((H, W, 3), np.uint8))


@pytest.mark.parametrize(("architecture", "window"), [("Mask2Former", 32), ("PerPixelBaseline", 0)])
def test_semantic(tmp_path, architecture, window):
    """With windows, an image of 32 x 43 pixels is read in two of them."""
    write_semantic(tmp_path)
    folders = [str(tmp_path / "images"), str(tmp_path / "labels")]
    names = ["road", "tree", "sky"]
    entries = [[f"own_{split}", *folders, names] for split in ("train", "val")]
    cfg = config(tmp_path, entries, "SEMANTIC_ON", architecture)
    cfg.MODEL.POSTPROCESSING.WINDOW = window
    results, prediction = train_evaluate_predict(cfg)
    assert {"mIoU", "IoU-road", "ACC-sky"} <= results["sem_seg"].keys()
    assert prediction["sem_seg"].shape == (3, H, W)
    lines = (tmp_path / "output" / "metrics.json").read_text().splitlines()
    assert any("sem_seg/mIoU" in json.loads(line) for line in lines)


def test_instances(tmp_path):
    path = str(write_instances(tmp_path))
    entries = [[f"own_{split}", str(tmp_path / "images"), path] for split in ("train", "val")]
    results, prediction = train_evaluate_predict(config(tmp_path, entries, "INSTANCE_ON"))
    assert set(results) == {"bbox", "segm"}
    assert "AP" in results["segm"]
    assert prediction["instances"].pred_masks.shape[1:] == (H, W)
    assert set(prediction["instances"].pred_classes.tolist()) <= {0, 1}


def test_another_number_for_no_class_is_refused(tmp_path):
    write_semantic(tmp_path)
    folders = [str(tmp_path / "images"), str(tmp_path / "labels")]
    cfg = config(tmp_path, [["own_val", *folders, ["a", "b", "c"]]], "SEMANTIC_ON")
    DatasetCatalog.register("own_train", list)
    MetadataCatalog.get("own_train").set(stuff_classes=["a", "b", "c"], ignore_label=0)
    with pytest.raises(UserError, match="'own_train' has the ignore_label 0: write 255"):
        align_data_sets(cfg)

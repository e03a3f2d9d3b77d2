"""Architectures go the whole way on generated scenes: trained, saved, loaded, evaluated."""

import numpy as np
import pytest
from small_models import EVERY_ARCHITECTURE, SEMANTIC_ALONE, SMALL, every_result

from d2_psformer import add_psformer_config
from d2_psformer.d2.config import CfgNode, get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import Trainer, evaluate

SPLITS = {"train": "small_scenes_train", "val": "small_scenes_val"}
SETTINGS = {
    "MODEL.BACKBONE.TIMM_NAME": "test_resnet",
    "DATASETS.TRAIN": (SPLITS["train"],),
    "DATASETS.TEST": (SPLITS["val"],),
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TRAIN": (64, 72),
    "INPUT.MIN_SIZE_TEST": 0,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.003,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.MAX_ITER": 8,
    "SEED": 1,
}


@pytest.fixture(scope="module", autouse=True)
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesSpec(train=2, val=2, size=64))
    for split, name in SPLITS.items():
        folder = root / f"panoptic_{split}"
        register_panoptic(name, str(root / split), f"{folder}.json", str(folder))
    yield
    for name in SPLITS.values():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def config(options: dict, output) -> CfgNode:
    cfg = get_cfg()
    add_psformer_config(cfg)
    keys = SMALL | SETTINGS | options
    for key, value in (keys | {"OUTPUT_DIR": str(output)}).items():
        cfg.merge_from_list([key, value])
    return cfg


class RecordingTrainer(Trainer):
    """Keeps the loss of every iteration."""

    def run_step(self):
        super().run_step()
        self.losses = [*getattr(self, "losses", []), self.storage.latest()["total_loss"][0]]


@pytest.mark.parametrize("name", ["joint", *EVERY_ARCHITECTURE])
def test_trains_saves_loads_and_evaluates(name, tmp_path):
    """What is evaluated at the end of the training, and from its file, is the same."""
    cfg = config(every_result(name), tmp_path)
    trainer = RecordingTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trained = trainer.train()
    assert len(trainer.losses) == 8 and np.isfinite(trainer.losses).all()
    assert np.mean(trainer.losses[-3:]) < 0.9 * trainer.losses[0]
    cfg.MODEL.WEIGHTS = f"{cfg.OUTPUT_DIR}/model_final.pth"
    loaded = evaluate(cfg)
    results = {"sem_seg"} if name in SEMANTIC_ALONE else {"panoptic_seg", "sem_seg", "segm"}
    assert results <= set(loaded) == set(trained)
    for task, figures in trained.items():
        assert loaded[task] == pytest.approx(figures, nan_ok=True), task
    assert trained["sem_seg"]["mIoU"] > 0, "nothing was proved"

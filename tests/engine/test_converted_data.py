"""Data of another format, converted, trains through its data.yaml."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image
from test_semantic_instance_training import YAML

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import check_dataset, register_from_config
from d2_psformer.data.converters import Source, convert
from d2_psformer.data.description import read_data_yaml
from d2_psformer.engine import Trainer, load_config


@pytest.fixture(autouse=True)
def _forget():
    yield
    for name in ("own_train", "own_val"):
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


@pytest.mark.parametrize(
    ("to", "switch", "task"),
    [
        ("panoptic", "SEMANTIC_ON", "panoptic_seg"),
        pytest.param("semantic", "SEMANTIC_ON", "sem_seg", marks=pytest.mark.slow),
        pytest.param("instances", "INSTANCE_ON", "segm", marks=pytest.mark.slow),
    ],
)
def test_converted_data_trains(tmp_path, to, switch, task):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        points = [[2, 2], [20, 2], [10, 20]]
        shapes = [{"label": "cat", "points": points, "shape_type": "polygon"}]
        content = {"imagePath": f"{number}.png", "imageHeight": 24, "imageWidth": 32}
        (folder / f"{number}.json").write_text(json.dumps({**content, "shapes": shapes}))
    convert_to = partial(convert, "labelme", folder=tmp_path / "own", to=to, background="ground")
    for split in ("train", "val"):
        convert_to(source=Source(folder, split=split))
    config = YAML.format(
        switch=switch, register="[]", output=tmp_path / "output", architecture="Mask2Former"
    )
    (tmp_path / "config.yaml").write_text(config)
    cfg = load_config(str(tmp_path / "config.yaml"))
    cfg.MODEL.POSTPROCESSING.PANOPTIC_ON = to == "panoptic"
    cfg.merge_from_other_cfg(type(cfg)(read_data_yaml(tmp_path / "own")))
    register_from_config(cfg)
    assert check_dataset("own_train").faults == []
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    assert task in trainer.train()

"""Which evaluators a config gets, and the file that their figures go to."""

import json
import zipfile
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from d2_psformer import add_psformer_config
from d2_psformer.d2 import BACKEND
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.evaluation import inference_on_dataset
from d2_psformer.evaluation import build_evaluator
from d2_psformer.utils.errors import UserError


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_psformer_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


@pytest.fixture
def no_ground_truth(make_panoptic, tmp_path):
    """COCO's test sets: a JSON with images and categories, no annotations."""
    data = make_panoptic()
    known = MetadataCatalog.get(data.name)
    name = f"{data.name}_test"
    images_only = tmp_path / "images_only.json"
    images_only.write_text(json.dumps({"images": [], "categories": []}))
    MetadataCatalog.get(name).set(
        panoptic_json=str(images_only),
        panoptic_root=known.panoptic_root,
        thing_dataset_id_to_contiguous_id=known.thing_dataset_id_to_contiguous_id,
        stuff_dataset_id_to_contiguous_id=known.stuff_dataset_id_to_contiguous_id,
    )
    records = DatasetCatalog.get(data.name)
    DatasetCatalog.register(name, lambda: records)
    yield name, records
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def infer(evaluator, records, predict):
    def model(batch):
        return [predict(record, num_classes=4) for record in batch]

    return inference_on_dataset(model, [[record] for record in records], evaluator)


def test_everything_at_once_and_saved(cfg, make_panoptic, predict):
    data = make_panoptic()
    test = cfg.MODEL.POSTPROCESSING
    test.SEMANTIC_ON = test.INSTANCE_ON = True
    results = infer(build_evaluator(cfg, data.name), DatasetCatalog.get(data.name), predict)
    assert set(results) == {"panoptic_seg", "sem_seg", "bbox", "segm"}
    saved = json.loads(
        (Path(cfg.OUTPUT_DIR) / "inference" / data.name / "metrics.json").read_text()
    )
    assert saved["dataset"] == data.name
    assert saved["panoptic_seg"]["PQ"] == 100
    assert saved["panoptic_seg"]["PQ_large"] is None
    assert saved["segm"]["AP"] == pytest.approx(100)
    assert saved["sem_seg"]["mIoU"] == pytest.approx(100)


def test_only_what_is_switched_on(cfg, make_panoptic, predict, tmp_path):
    data = make_panoptic()
    evaluator = build_evaluator(cfg, data.name, str(tmp_path / "here"))
    results = infer(evaluator, DatasetCatalog.get(data.name), predict)
    assert list(results) == ["panoptic_seg"]
    assert (tmp_path / "here" / "metrics.json").is_file()


def test_several_data_sets_do_not_overwrite_each_other(cfg, make_panoptic, predict):
    names = [make_panoptic().name, make_panoptic(num_images=2).name]
    cfg.DATASETS.TEST = tuple(names)
    for name in names:
        infer(build_evaluator(cfg, name), DatasetCatalog.get(name), predict)
        saved = Path(cfg.OUTPUT_DIR) / "inference" / name / "metrics.json"
        assert json.loads(saved.read_text())["dataset"] == name


def test_only_stuff_has_no_instances(cfg, make_panoptic, predict):
    sky = [{"id": 3, "name": "sky", "isthing": 0}, {"id": 4, "name": "grass", "isthing": 0}]
    data = make_panoptic(categories=sky)
    cfg.MODEL.POSTPROCESSING.INSTANCE_ON = True
    evaluator = build_evaluator(cfg, data.name)
    assert list(infer(evaluator, DatasetCatalog.get(data.name), predict)) == ["panoptic_seg"]
    cfg.MODEL.POSTPROCESSING.PANOPTIC_ON = False
    with pytest.raises(UserError, match=f"Nothing to evaluate on '{data.name}'"):
        build_evaluator(cfg, data.name)


def test_without_ground_truth_coco_results_of_instances_are_written(
    cfg, no_ground_truth, make_panoptic, predict, tmp_path, caplog
):
    """pycocotools reads them and finds them perfect."""
    name, records = no_ground_truth
    with_truth = name.removesuffix("_test")
    cfg.MODEL.POSTPROCESSING.INSTANCE_ON = cfg.MODEL.POSTPROCESSING.SEMANTIC_ON = True
    assert infer(build_evaluator(cfg, name), records, predict) == {}
    assert "SEMANTIC_ON is on, but nothing of it is evaluated" in caplog.text
    cfg.MODEL.POSTPROCESSING.PANOPTIC_ON = False
    infer(build_evaluator(cfg, with_truth, str(tmp_path / "truth")), records, predict)
    truth = COCO(next((tmp_path / "truth").glob("*_instances_*.json")))
    folder = Path(cfg.OUTPUT_DIR) / "inference" / name
    evaluation = COCOeval(truth, truth.loadRes(f"{folder}/coco_instances_results.json"), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


def test_without_ground_truth_a_submission_is_written(cfg, no_ground_truth, predict):
    name, records = no_ground_truth
    cfg.MODEL.POSTPROCESSING.SEMANTIC_ON = True
    assert infer(build_evaluator(cfg, name), records, predict) == {}
    folder = Path(cfg.OUTPUT_DIR) / "inference" / name
    with zipfile.ZipFile(folder / f"panoptic_{name}_results.zip") as archive:
        assert len(archive.namelist()) == 1 + len(records)
    assert not (folder / "metrics.json").exists()
    cfg.MODEL.POSTPROCESSING.PANOPTIC_ON = False
    with pytest.raises(UserError, match="Nothing to evaluate"):
        build_evaluator(cfg, name)


def test_detectron2s_evaluator_can_be_chosen(cfg, make_panoptic, predict):
    data = make_panoptic()
    cfg.TEST.PANOPTIC_EVALUATOR = "detectron2"
    if BACKEND != "detectron2":
        with pytest.raises(UserError, match="needs Detectron2 and panopticapi"):
            build_evaluator(cfg, data.name)
        return
    pytest.importorskip("panopticapi", reason="panopticapi is not installed")
    records = DatasetCatalog.get(data.name)
    outputs = [predict(record) for record in records]
    evaluator = build_evaluator(cfg, data.name)
    evaluator.reset()
    evaluator.process(records, outputs)
    assert evaluator.evaluate()["panoptic_seg"]["PQ"] == 100
    # It rewrites segments_info; the model's output must not notice.
    assert all("isthing" in s for output in outputs for s in output["panoptic_seg"][1])


def test_an_unknown_choice_is_told(cfg, make_panoptic):
    cfg.TEST.PANOPTIC_EVALUATOR = "theirs"
    with pytest.raises(UserError, match=r"TEST\.PANOPTIC_EVALUATOR is 'theirs'"):
        build_evaluator(cfg, make_panoptic().name)

"""Evaluation on label PNGs and on COCO's instance JSON, against formulas and pycocotools."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from small_data import H, W, instance_content, write_instances, write_semantic
from torchmetrics.functional.classification import multiclass_jaccard_index

from d2_psformer import add_psformer_config
from d2_psformer.classes import Classes
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.evaluation import inference_on_dataset
from d2_psformer.d2.structures import Boxes, Instances
from d2_psformer.data import register_instances, register_semantic
from d2_psformer.data.class_metadata import align_data_set
from d2_psformer.data.coco_instances import decode_outline
from d2_psformer.engine.data_sets import align_data_sets
from d2_psformer.evaluation import build_evaluator
from d2_psformer.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("clean_catalogs")
NAMES = ["road", "tree", "sky"]


@pytest.fixture
def cfg(tmp_path):
    """Every result is switched on, as for a model of all three tasks."""
    cfg = get_cfg()
    add_psformer_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    node = cfg.MODEL.POSTPROCESSING
    node.PANOPTIC_ON = node.SEMANTIC_ON = node.INSTANCE_ON = True
    return cfg


@pytest.fixture
def labels(tmp_path):
    labels = write_semantic(tmp_path, count=3)
    register_semantic("streets", tmp_path / "images", tmp_path / "labels", NAMES)
    return labels


@pytest.fixture
def pets(tmp_path):
    register_instances("pets", tmp_path / "images", write_instances(tmp_path))
    return DatasetCatalog.get("pets")


def evaluate(cfg, name, outputs):
    records = DatasetCatalog.get(name)
    found = iter(outputs)
    evaluator = build_evaluator(cfg, name)
    return inference_on_dataset(lambda batch: [next(found)], [[r] for r in records], evaluator)


def one_hot(labels, num_classes=3):
    labels = torch.from_numpy(np.array(labels, np.int64))
    return {"sem_seg": (labels == torch.arange(num_classes)[:, None, None]).float()}


def test_labels_predicted_rightly_score_100(cfg, labels):
    results = evaluate(cfg, "streets", map(one_hot, labels))
    assert set(results) == {"sem_seg"}
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["IoU-tree"] == pytest.approx(100)


def test_miou_is_that_of_torchmetrics(cfg, labels):
    guesses = np.random.default_rng(7).integers(0, 3, (3, H, W))
    found = evaluate(cfg, "streets", map(one_hot, guesses))["sem_seg"]
    expected = multiclass_jaccard_index(
        torch.from_numpy(guesses), torch.from_numpy(np.stack(labels)).long(),
        num_classes=3, average="none", ignore_index=255,
    )  # fmt: skip
    assert [found[f"IoU-{name}"] for name in NAMES] == pytest.approx((100 * expected).tolist())
    assert found["mIoU"] == pytest.approx(100 * expected.mean().item())


def test_renumbered_classes_are_evaluated_by_name(cfg, labels):
    align_data_set("streets", {"name": "m", "stuff_classes": ["sky", "road", "tree"]}, "the model")
    numbers = np.array([1, 2, 0, *[255] * 253])
    results = evaluate(cfg, "streets", [one_hot(numbers[x]) for x in labels])["sem_seg"]
    assert results["mIoU"] == pytest.approx(100)
    wrong = evaluate(cfg, "streets", map(one_hot, labels))["sem_seg"]
    assert wrong["mIoU"] == pytest.approx(0)


@pytest.fixture
def panoptic_model(cfg):
    """One thing and two kinds of stuff, of the names in ``labels`` but in another order."""
    kinds = {"tree": 1, "sky": 0, "road": 0}
    classes = Classes.from_categories(
        {"id": 7 + i, "name": name, "isthing": kinds[name]} for i, name in enumerate(kinds)
    )
    DatasetCatalog.register("panoptic", list)
    MetadataCatalog.get("panoptic").set(**classes.to_metadata())
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("panoptic",), ("streets",)


def test_a_panoptic_model_is_evaluated_on_labels(cfg, labels, panoptic_model):
    """The labels do not say which of their classes are things."""
    for _ in range(2):  # as before and after weights are loaded
        align_data_sets(cfg)
    numbers = np.array([2, 0, 1, *[255] * 253])
    results = evaluate(cfg, "streets", [one_hot(numbers[x]) for x in labels])
    assert set(results) == {"sem_seg"}
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["IoU-tree"] == pytest.approx(100)


def test_a_panoptic_model_does_not_learn_from_labels(cfg, labels, panoptic_model):
    cfg.DATASETS.TRAIN = ("panoptic", "streets")
    with pytest.raises(UserError, match="'streets' and data set 'panoptic' differ"):
        align_data_sets(cfg)


def test_labels_of_another_size_or_class_are_named(cfg, labels, tmp_path):
    Image.fromarray(labels[2][1:]).save(tmp_path / "labels/2.png")
    with pytest.raises(UserError, match=r"2\.png' is 32 x 23 pixels, but image .* is 32 x 24"):
        evaluate(cfg, "streets", map(one_hot, labels))
    Image.fromarray(np.full((H, W), 9, np.uint8)).save(tmp_path / "labels/2.png")
    with pytest.raises(UserError, match=r"2\.png' has class 9"):
        evaluate(cfg, "streets", map(one_hot, labels))


def instances_of(record, shift=0, scores=0.9):
    masks = [decode_outline(a["segmentation"], (H, W)) for a in record["annotations"]]
    masks = torch.from_numpy(np.stack([np.roll(mask, shift, axis=1) for mask in masks]))
    instances = Instances((H, W))
    instances.pred_masks = masks
    places = [mask.nonzero(as_tuple=True) for mask in masks]
    instances.pred_boxes = Boxes(
        torch.tensor([[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in places]).float()
    )
    instances.scores = torch.full((len(masks),), scores)
    instances.pred_classes = torch.tensor([a["category_id"] for a in record["annotations"]])
    return {"instances": instances}


def test_instances_predicted_rightly_score_100(cfg, pets):
    results = evaluate(cfg, "pets", map(instances_of, pets))
    assert set(results) == {"bbox", "segm"}
    for task in results.values():
        found = [task[key] for key in ("AP", "AP50", "AP75", "AP-cat", "AP-dog")]
        assert found == pytest.approx([100] * 5)


def test_ap_is_that_of_pycocotools(cfg, pets, tmp_path):
    outputs = [instances_of(record, shift=2, scores=0.5 + i / 10) for i, record in enumerate(pets)]
    found = evaluate(cfg, "pets", outputs)
    ids = {0: 4, 1: 9}
    detections = []
    for record, output in zip(pets, outputs, strict=True):
        x = output["instances"]
        for box, score, c in zip(x.pred_boxes.tensor, x.scores, x.pred_classes, strict=True):
            x0, y0, x1, y1 = box.tolist()
            entry = {"image_id": record["image_id"], "bbox": [x0, y0, x1 - x0, y1 - y0]}
            detections.append(entry | {"category_id": ids[int(c)], "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "instances.json"))
        expected = COCOeval(truth, truth.loadRes(detections), "bbox")
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
    assert 0 < found["bbox"]["AP"] < 100
    assert found["bbox"]["AP"] == pytest.approx(100 * expected.stats[0])
    assert found["bbox"]["AP75"] == pytest.approx(100 * expected.stats[2])


def test_ap_of_renumbered_classes(cfg, pets):
    reference = {
        "name": "model",
        "thing_classes": ["dog", "cat"],
        "thing_dataset_id_to_contiguous_id": {1: 0, 2: 1},
    }
    align_data_set("pets", reference, "the model")
    found = evaluate(cfg, "pets", map(instances_of, DatasetCatalog.get("pets")))["segm"]
    assert [found["AP-cat"], found["AP-dog"]] == pytest.approx([100, 100])


def test_a_file_without_iscrowd_is_evaluated(cfg, tmp_path):
    content = instance_content()
    for entry in content["annotations"]:
        del entry["iscrowd"]
    register_instances("pets", tmp_path / "images", write_instances(tmp_path, content))
    results = evaluate(cfg, "pets", map(instances_of, DatasetCatalog.get("pets")))
    assert results["segm"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize(
    ("name", "switch", "kind"),
    [("streets", "SEMANTIC_ON", "semantic"), ("pets", "INSTANCE_ON", "instance")],
)
def test_results_and_ground_truth_must_meet(cfg, labels, tmp_path, name, switch, kind):
    register_instances("pets", tmp_path / "images", write_instances(tmp_path))
    cfg.MODEL.POSTPROCESSING[switch] = False
    sentence = rf"'{name}', which has {kind} ground truth: switch on .*POSTPROCESSING\.{switch}"
    with pytest.raises(UserError, match=sentence):
        build_evaluator(cfg, name)

"""Two processes, each with half of the images, find what one finds with all."""

import json
import zipfile

import pytest
import torch
import torch.multiprocessing as mp

from d2_psformer import add_psformer_config
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.evaluation import SubmissionWriter, build_evaluator


def evaluate(name, folder, predict, share):
    """All results over ``share`` of the images, predicted more and more wrongly."""
    cfg = get_cfg()
    add_psformer_config(cfg)
    test = cfg.MODEL.POSTPROCESSING
    test.SEMANTIC_ON = test.INSTANCE_ON = True
    records = DatasetCatalog.get(name)
    outputs = [predict(r, shift=shift, num_classes=4) for shift, r in enumerate(records)]
    results = []
    for evaluator in (build_evaluator(cfg, name, str(folder)), SubmissionWriter(name, str(folder))):
        evaluator.reset()
        evaluator.process(records[share], outputs[share])
        results.append(evaluator.evaluate())
    assert results.pop() == {}
    return results[0]


def work(rank, data, image_root, predict, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    register_panoptic(data.name, image_root, data.json, data.folder)
    results = evaluate(data.name, folder / "two", predict, slice(rank, None, 2))
    assert bool(results) == (rank == 0)
    torch.distributed.destroy_process_group()


def test_two_processes_count_as_one(make_panoptic, predict, tmp_path):
    data = make_panoptic()
    image_root = MetadataCatalog.get(data.name).image_root
    mp.spawn(work, (data, image_root, predict, tmp_path), nprocs=2)
    evaluate(data.name, tmp_path / "one", predict, slice(None))
    one, two = (
        json.loads((tmp_path / folder / "metrics.json").read_text()) for folder in ("one", "two")
    )
    assert list(one) == list(two) == ["dataset", "panoptic_seg", "sem_seg", "bbox", "segm"]
    assert 0 < one["panoptic_seg"]["PQ"] < 100
    for task in list(one)[1:]:
        assert two[task] == pytest.approx(one[task], abs=1e-9)
    archives = [
        zipfile.ZipFile(tmp_path / folder / f"panoptic_{data.name}_results.zip")
        for folder in ("one", "two")
    ]
    contents = [{name: a.read(name) for name in a.namelist()} for a in archives]
    assert contents[0] == contents[1] and len(contents[0]) == 5

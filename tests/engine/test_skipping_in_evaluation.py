"""DATALOADER.ON_ERROR "skip" in evaluation: figures are those of the images that can be read."""

import json
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from PIL import Image
from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.d2.utils import comm
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import build_test_loader, evaluate, load_config
from d2_psformer.report import evaluate_run
from d2_psformer.report.gallery import draw_gallery
from d2_psformer.utils.errors import UserError

# Name, images, and the stem of the JSON; the third has the second's whole images alone.
DATA_SETS = {
    "skip_train": ("train", "panoptic_train"),
    "skip_val": ("val", "panoptic_val"),
    "skip_whole": ("val", "whole"),
}
SKIP = ["DATALOADER.ON_ERROR", "skip"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six images, of which one cannot be read, and one's ground truth; and a tiny model."""
    root = tmp_path_factory.mktemp("skipping")
    write_scenes(root, ScenesSpec(train=2, val=6, size=64))
    content = json.loads((root / "panoptic_val.json").read_text())
    cut_in_half(root / "val" / content["images"][1]["file_name"])
    cut_in_half(root / "panoptic_val" / content["annotations"][4]["file_name"])
    for key in ("images", "annotations"):
        content[key] = [content[key][place] for place in (0, 2, 3, 5)]
    (root / "whole.json").write_text(json.dumps(content))
    register(root)
    write_tiny_model(root, "skip_train")
    forget()
    return root


@pytest.fixture(autouse=True)
def _registered(folder):
    register(folder)
    yield
    forget()


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def register(root: Path) -> None:
    for name, (images, stem) in DATA_SETS.items():
        register_panoptic(name, root / images, root / f"{stem}.json", root / f"panoptic_{images}")


def forget() -> None:
    for name in (*DATA_SETS, "skip_none"):
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


def config(root: Path, name: str, *options):
    cfg = load_config(str(root / "tiny.yaml"), [*options])
    cfg.DATASETS.TEST = (name,)
    cfg.MODEL.WEIGHTS = str(root / "tiny.pth")
    cfg.MODEL.POSTPROCESSING.SEMANTIC_ON = True
    cfg.OUTPUT_DIR = str(root / "output")
    return cfg


def figures(root: Path, name: str, *options) -> dict:
    return evaluate(config(root, name, *options))


def assert_equal_figures(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys() == {"panoptic_seg", "sem_seg"}
    for task, values in expected.items():
        assert found[task] == pytest.approx(values, abs=1e-9, nan_ok=True)


def test_by_default_it_is_an_error(folder):
    with pytest.raises(UserError, match="000001"):
        figures(folder, "skip_val")


@pytest.mark.parametrize("workers", [0, 2])
def test_figures_are_over_the_others(folder, workers, said):
    found = figures(folder, "skip_val", *SKIP, "DATALOADER.NUM_WORKERS", workers)
    assert [line[:26] for line in said if "Left out" in line] == [
        "Left out of 'skip_val': Im",
        "Left out of 'skip_val': Pa",
    ]
    assert "2 images of 'skip_val' left out." in said
    assert any("is over 4 annotations, its ground truth has 6" in line for line in said)
    assert_equal_figures(found, figures(folder, "skip_whole"))


def test_there_is_a_limit(folder):
    with pytest.raises(UserError, match=r"2 images cannot be read, but .*MAX_SKIPPED is 1; the"):
        figures(folder, "skip_val", *SKIP, "DATALOADER.MAX_SKIPPED", 1)


def test_none_can_be_read(folder):
    content = json.loads((folder / "panoptic_val.json").read_text())
    for key in ("images", "annotations"):
        content[key] = [content[key][place] for place in (1, 4)]
    (folder / "none.json").write_text(json.dumps(content))
    register_panoptic("skip_none", folder / "val", folder / "none.json", folder / "panoptic_val")
    with pytest.raises(UserError, match="No image of 'skip_none' can be read; the last one: "):
        figures(folder, "skip_none", *SKIP)


def test_label_pngs_are_read_where_they_are_evaluated(folder, tmp_path):
    broken, labels = tmp_path / "broken.png", tmp_path / "labels.png"
    broken.write_bytes(b"no PNG")
    Image.new("L", (64, 64)).save(labels)
    records = [
        {**record, "sem_seg_file_name": str(labels if number else broken)}
        for number, record in enumerate(DatasetCatalog.get("skip_whole"))
    ]
    DatasetCatalog.pop("skip_whole")
    DatasetCatalog.register("skip_whole", lambda: records)
    assert len(list(build_test_loader(config(folder, "skip_whole", *SKIP), "skip_whole"))) == 3
    cfg = config(folder, "skip_whole", *SKIP)
    cfg.MODEL.POSTPROCESSING.SEMANTIC_ON = False
    assert len(list(build_test_loader(cfg, "skip_whole"))) == 4


def test_mappers_without_sizes(folder):
    """What cannot be compared is left to the evaluator."""
    cfg = config(folder, "skip_val", *SKIP)
    loader = build_test_loader(cfg, "skip_val", lambda record: {"image_id": record["image_id"]})
    assert len(list(loader)) == 6


def test_detectron2s_evaluator_wants_every_image(folder):
    cfg = config(folder, "skip_val", *SKIP, "TEST.PANOPTIC_EVALUATOR", "detectron2")
    with pytest.raises(UserError, match="000001"):
        list(build_test_loader(cfg, "skip_val"))


@pytest.mark.parametrize("name", ["skip_val", "skip_whole"])
def test_a_report_names_images_by_file(folder, name):
    """One data set has images that are left out, the other lists an image twice."""
    if name == "skip_whole":
        records = DatasetCatalog.get(name)
        DatasetCatalog.pop(name)
        DatasetCatalog.register(name, lambda: records[:1] + records)
    run = evaluate_run(config(folder, name, *SKIP))
    gallery = draw_gallery([run], 10)
    expected = {Path(path).name: figures for path, figures in run.statistics.images.items()}
    whole = {Path(record["file_name"]).name for record in DatasetCatalog.get("skip_whole")}
    assert {shown.name for shown in gallery} == expected.keys() == whole
    for shown in gallery:
        assert shown.figures == [expected[shown.name]]


def work(rank: int, root: Path, limit: int, expected: dict) -> None:
    """Either process has one of the images that cannot be read."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{root}/meet_{limit}", rank=rank, world_size=2
    )
    register(root)
    cfg = config(root, "skip_val", *SKIP, "DATALOADER.MAX_SKIPPED", limit)
    cfg.OUTPUT_DIR = str(root / f"output_{limit}")
    if limit == 1:
        with pytest.raises(UserError, match=r"2 images cannot be read, but .*MAX_SKIPPED is 1"):
            evaluate(cfg)
        assert not [*Path(cfg.OUTPUT_DIR).rglob("metrics.json")]
    elif rank == 0:
        assert_equal_figures(evaluate(cfg), expected)
    else:
        evaluate(cfg)
    comm.synchronize()  # no process leaves while the other still communicates with it
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("limit", [1, 2])
def test_all_processes_count_together(folder, limit):
    mp.spawn(work, (folder, limit, figures(folder, "skip_whole")), nprocs=2)

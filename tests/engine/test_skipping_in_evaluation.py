"""DATALOADER.ON_ERROR "skip" in evaluation: figures are those of the images that can be read."""

import json
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import evaluate, load_config
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
    for name in DATA_SETS:
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)


def figures(root: Path, name: str, *options) -> dict:
    cfg = load_config(str(root / "tiny.yaml"), [*options])
    cfg.DATASETS.TEST = (name,)
    cfg.MODEL.WEIGHTS = str(root / "tiny.pth")
    cfg.MODEL.POSTPROCESSING.SEMANTIC_ON = True
    cfg.OUTPUT_DIR = str(root / "output")
    return evaluate(cfg)


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
    assert [line[:33] for line in said if "Left out" in line] == [
        "Left out image 1 of 'skip_val': I",
        "Left out image 2 of 'skip_val': P",
    ]
    assert "The figures of 'skip_val' are without 2 images." in said
    assert any("is over 4 annotations, its ground truth has 6" in line for line in said)
    assert_equal_figures(found, figures(folder, "skip_whole"))


def test_there_is_a_limit(folder):
    with pytest.raises(UserError, match=r"2 images cannot be read, but .*MAX_SKIPPED is 1; the"):
        figures(folder, "skip_val", *SKIP, "DATALOADER.MAX_SKIPPED", 1)


def work(rank: int, root: Path, limit: int, expected: dict) -> None:
    """Either process has one of the images that cannot be read."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{root}/meet_{limit}", rank=rank, world_size=2
    )
    register(root)
    options = (*SKIP, "DATALOADER.MAX_SKIPPED", limit)
    if limit == 1:
        with pytest.raises(UserError, match=r"2 images cannot be read, but .*MAX_SKIPPED is 1"):
            figures(root, "skip_val", *options)
    else:
        found = figures(root, "skip_val", *options)
        if rank == 0:
            assert_equal_figures(found, expected)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("limit", [1, 2])
def test_all_processes_count_together(folder, limit):
    mp.spawn(work, (folder, limit, figures(folder, "skip_whole")), nprocs=2)

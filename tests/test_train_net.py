"""The command as users call it: evaluation without ground truth, and their errors."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dummy_processes import with_files_up_to
from PIL import Image

from d2_psformer.data.scenes import SCENES_CATEGORIES, ScenesSpec, write_scenes

ROOT = Path(__file__).parents[1]
DEMO = ("--config-file", "configs/scenes/demo.yaml")
WEIGHTS = ("MODEL.WEIGHTS", "demo/psformer_scenes.pth")
SHORT = ("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "3", "SOLVER.WARMUP_ITERS", "0")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")


def use(data: Path, split: str, json_name: str | None = None) -> tuple[str, ...]:
    """Settings that train and test on a split of generated scenes."""
    png_folder = "" if json_name else str(data / f"panoptic_{split}")
    entry = ["own", str(data / split), str(data / (json_name or f"panoptic_{split}.json"))]
    registered = ("DATASETS.REGISTER", str([[*entry, png_folder]]))
    return (*registered, "DATASETS.TRAIN", "('own',)", "DATASETS.TEST", "('own',)")


def write_data(folder: Path) -> None:
    """Scenes, one image of training broken; JSONs without ground truth and without a class."""
    write_scenes(folder, ScenesSpec(train=2, val=3, size=64))
    content = json.loads((folder / "panoptic_val.json").read_text())
    categories = [{"id": 1, "name": "person"}]  # COCO's test sets list those of detection
    images = {"images": content["images"], "categories": categories}
    (folder / "images.json").write_text(json.dumps(images))
    fewer = {**content, "categories": content["categories"][:-1], "annotations": []}
    (folder / "fewer.json").write_text(json.dumps(fewer))
    write_with_other_ids(folder, content)
    first = min((folder / "train").iterdir())
    first.write_bytes(first.read_bytes()[:1000])


def write_with_other_ids(folder: Path, content: dict) -> None:
    """The same classes and truth as in ``content``, each class with the id of the next."""
    ids = [category["id"] for category in content["categories"]]
    other = dict(zip(ids, [*ids[1:], ids[0]], strict=True))
    for category in content["categories"]:
        category["id"] = other[category["id"]]
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["category_id"] = other[segment["category_id"]]
    (folder / "other_ids.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_data(folder)
    return folder


def train_net(output: Path, *arguments: str, launcher=()) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "D2_PSFORMER_TRACEBACK"}
    return subprocess.run(
        [sys.executable, *launcher, "train_net.py", *arguments, "OUTPUT_DIR", str(output)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_without_ground_truth_submission_files_are_written(data, tmp_path):
    settings = use(data, "val", "images.json")
    done = train_net(tmp_path, *DEMO, "--eval-only", *WEIGHTS, *settings[:2], *settings[-2:])
    assert done.returncode == 0, done.stdout + done.stderr
    stem = "panoptic_own_results"
    with zipfile.ZipFile(tmp_path / "inference" / "own" / f"{stem}.zip") as archive:
        entries = json.loads(archive.read(f"{stem}.json"))["annotations"]
        pictures = {e["file_name"]: archive.read(f"{stem}/{e['file_name']}") for e in entries}
        assert len(archive.namelist()) == 1 + len(entries) == 4
    known = {category["id"] for category in SCENES_CATEGORIES}
    for entry in entries:
        found = {segment["category_id"] for segment in entry["segments_info"]}
        assert found and found <= known
        (tmp_path / "ids.png").write_bytes(pictures[entry["file_name"]])
        with Image.open(tmp_path / "ids.png") as image:
            assert image.size == (64, 64)
            ids = set((np.asarray(image) @ [1, 256, 65536]).flat)
        assert ids - {0} == {segment["id"] for segment in entry["segments_info"]}


def test_the_same_classes_under_other_ids_have_the_same_quality(data, tmp_path):
    """Names decide: trained on one file, evaluated on it and on one whose ids are rotated."""
    files = {"own": "panoptic_val.json", "other": "other_ids.json"}
    entries = [
        [name, str(data / "val"), str(data / file), str(data / "panoptic_val")]
        for name, file in files.items()
    ]
    done = train_net(
        tmp_path, *DEMO, "--eval-only", *WEIGHTS, "DATASETS.REGISTER", str(entries),
        "DATASETS.TRAIN", "('own',)", "DATASETS.TEST", "('own', 'other')",
        "MODEL.POSTPROCESSING.SEMANTIC_ON", "True", "MODEL.POSTPROCESSING.INSTANCE_ON", "True",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    own, other = (
        json.loads((tmp_path / "inference" / name / "metrics.json").read_text()) for name in files
    )
    assert own["panoptic_seg"]["PQ"] > 5
    for task in ("panoptic_seg", "sem_seg", "segm"):
        assert other[task] == pytest.approx(own[task], nan_ok=True)


def told(done: subprocess.CompletedProcess) -> list[str]:
    assert done.returncode == 1
    return [line for line in done.stderr.splitlines() if line.startswith("train_net.py: ")]


def assert_told_once(done: subprocess.CompletedProcess, sentence: str, output: Path) -> None:
    (line,) = told(done) or [done.stderr]
    assert sentence in line
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(output.glob("*.pth")) and not list(output.glob("**/.*.tmp*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        # two processes that fail alike
        (("--config-file", "nowhere.yaml", "--num-gpus", "2"), "'nowhere.yaml' does not exist"),
        ((*DEMO, "SOLVER.BASE_RL", "0.1"), "SOLVER.BASE_RL"),
        ((*DEMO, "DATASETS.TRAIN", "('scenes_tran',)"), "'scenes_tran' is unknown: use one of"),
        (
            ("--config-file", "configs/coco/psformer_R50_1x.yaml", "MODEL.BACKBONE.PRETRAINED", ""),
            "Layers of the backbone are frozen, but there are no weights for them",
        ),
    ],
)
def test_wrong_configs_end_in_one_sentence(tmp_path, arguments, sentence):
    assert_told_once(train_net(tmp_path, *arguments), sentence, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "split", "json_name", "sentence"),
    [
        (SHORT, "test", None, "panoptic_test.json' does not exist: check the path"),
        (
            ("--eval-only", *WEIGHTS), "val", "fewer.json",
            "The classes of data set 'own' and checkpoint 'demo/psformer_scenes.pth' differ: only",
        ),
        ((*SHORT, "SOLVER.BASE_LR", "1e9"), "val", None, "The matching cost is not finite"),
        # one of two processes fails, the other of its absence
        (("--num-gpus", "2", *SHORT), "train", None, ".jpg' cannot be decoded"),
    ],
)  # fmt: skip
def test_wrong_data_end_in_one_sentence(data, tmp_path, arguments, split, json_name, sentence):
    done = train_net(tmp_path, *DEMO, *arguments, *use(data, split, json_name))
    assert_told_once(done, sentence, tmp_path)


@pytest.mark.slow
def test_a_full_disk_ends_in_one_sentence(data, tmp_path):
    settings = (*DEMO, *SHORT, *use(data, "val"))
    done = train_net(tmp_path, *settings, launcher=with_files_up_to(10**6))
    assert_told_once(done, f"'{tmp_path / 'model_final.pth'}'", tmp_path)


def test_processes_of_torchrun_report_errors(data, tmp_path):
    done = train_net(tmp_path, *DEMO, *SHORT, *use(data, "train"), launcher=TORCHRUN)
    assert any(".jpg' cannot be decoded" in line for line in told(done)), done.stderr
    assert "decoded" in "".join(path.read_text() for path in tmp_path.glob("log.txt*"))

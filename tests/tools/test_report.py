"""The report of a model on data with ground truth."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine.report import image_quality

spec = importlib.util.spec_from_file_location(
    "report", Path(__file__).parents[2] / "tools" / "report.py"
)
report = importlib.util.module_from_spec(spec)
spec.loader.exec_module(report)

FIGURES = {"PQ": 71.25, "SQ": 80.0, "RQ": 88.0, "PQ_th": None, "PQ_st": float("nan")}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Scenes that the config registers, and a model for their classes."""
    root = tmp_path_factory.mktemp("report")
    data = root / "data"
    write_scenes(data, ScenesSpec(train=3, val=5, size=64))
    entries = [
        [
            f"report_{s}",
            str(data / s),
            str(data / f"panoptic_{s}.json"),
            str(data / f"panoptic_{s}"),
        ]
        for s in ("train", "val")
    ]
    for entry in entries:
        register_panoptic(*entry)
    config, checkpoint = write_tiny_model(root, "report_train")
    text = config.read_text().replace(
        "DATASETS: {", f"DATASETS: {{TEST: [report_val], REGISTER: {json.dumps(entries)}, "
    )
    config.write_text(text)
    (root / "run").mkdir()
    checkpoint.rename(root / "run" / "model_final.pth")
    yield root
    for name, *_ in entries:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def run(root: Path, *arguments) -> Path:
    report.main(
        ["--config-file", str(root / "tiny.yaml"), *arguments, "OUTPUT_DIR", str(root / "run")]
    )
    return root / "run"


def test_everything(root, capsys):
    lines = [{"iteration": i, "total_loss": 3.0 - i} for i in range(3)]
    (root / "run" / "metrics.json").write_text("\n".join(map(json.dumps, lines)))
    run_folder = run(root, "--num-images", "2", "--output", str(root / "out"))

    pictures = sorted((root / "out" / "pictures").iterdir())
    assert [p.name for p in pictures] == ["01_10000000.png", "02_10000002.png"]
    with Image.open(pictures[0]) as picture:
        width, height = picture.size
    assert width > 3 * 640  # image, ground truth, prediction
    assert height > 640
    text = (root / "out" / "report.md").read_text()
    for name in ("contact_sheet.png", "curves.png", "pictures/01_10000000.png"):
        assert (root / "out" / name).is_file()
        assert f"(<{name}>)" in text
    measured = json.loads((run_folder / "inference" / "report_val" / "metrics.json").read_text())
    row = next(line for line in text.splitlines() if line.startswith("| this model"))
    assert f"{measured['panoptic_seg']['PQ']:.1f}" in row
    assert row in capsys.readouterr().out


def test_figures_are_measured_and_not_those_of_an_earlier_evaluation(root, monkeypatch):
    figures = root / "run" / "inference" / "report_val" / "metrics.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps({"panoptic_seg": {**FIGURES, "PQ": 12.0}}))
    measured = {"panoptic_seg": {**FIGURES, "PQ_st": 12.0}}
    monkeypatch.setattr("d2_psformer.engine.report.test", lambda *_: measured)
    text = (run(root, "--num-images", "1") / "report.md").read_text()
    assert [cell.strip() for cell in text.split("this model")[1].split("|")[1:6]] == [
        *("71.2", "80.0", "88.0", "-", "12.0")
    ]


def test_a_perfect_prediction_has_100():
    metadata = MetadataCatalog.get("scenes_val")
    ids = np.repeat([[5, 9]], 4, axis=0)
    segments = [{"id": 5, "category_id": 1}, {"id": 9, "category_id": 7}]
    assert image_quality(metadata, (ids, segments), (ids, segments)) == pytest.approx(100)
    assert image_quality(metadata, (ids, segments), (ids * 0, [])) == 0


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        (["MODEL.WEIGHTS", "none.pth"], "'none.pth' does not exist"),
        (["DATASETS.TEST", "()"], "DATASETS.TEST must begin"),
    ],
)
def test_errors_are_one_sentence(root, opts, sentence):
    with pytest.raises(SystemExit) as stop:
        report.main(["--config-file", str(root / "tiny.yaml"), *opts])
    assert sentence in str(stop.value)

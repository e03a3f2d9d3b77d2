"""The comparison: what is run, what is not run again, and what the document says."""

import json
from pathlib import Path

import compare
import comparison
import numpy as np
import pytest
import runs
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.scenes import ScenesSpec, write_scenes

SECONDS = {name: 0.6 + 0.6 * number for number, name in enumerate(compare.MODELS)}
FAKE = Path(__file__).with_name("fake_train_net.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Settings of two generated scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, ScenesSpec(train=2, val=2, size=64))
    files = ("{}", "panoptic_{}.json", "panoptic_{}")
    splits = ("train", "val")
    names = {split: f"compare_{split}" for split in splits}
    entries = [[names[s], *(str(folder / f.format(s)) for f in files)] for s in splits]
    yield [
        *("DATASETS.REGISTER", json.dumps(entries)),
        *("DATASETS.TRAIN", f"('{names['train']}',)", "DATASETS.TEST", f"('{names['val']}',)"),
    ]
    for name in names.values():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Trainings and pictures take no time, step times are known."""
    monkeypatch.setattr(compare, "generate_scenes", lambda *options: None)
    monkeypatch.setattr(runs, "TRAIN_NET", FAKE)
    monkeypatch.setattr(comparison, "draw_results", lambda runs: np.zeros((4, 6, 3), np.uint8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "step_times.json").write_text(json.dumps(SECONDS))
    return tmp_path


def run(folder, data, *arguments) -> int:
    options = ["--output", folder / "out", "--document", folder / "docs" / "comparison.md"]
    given = [*options, "--iterations", 400, "--evaluations", 2, *arguments, "--opts", *data]
    return compare.main([str(x) for x in given])


def calls(folder) -> dict[str, int]:
    """How often each folder was given to train_net.py."""
    root = folder / "out"
    found = sorted(root.rglob("calls.txt"))
    return {str(p.parent.relative_to(root)): len(p.read_text().split()) for p in found}


def rows(folder) -> dict[str, list[str]]:
    lines = (folder / "docs" / "comparison.md").read_text().split("\n")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    return {first: rest for first, *rest in cells}


def test_every_model_is_trained_once_with_every_seed(folder, data, capsys):
    assert run(folder, data) == 0
    names = [Path(config).stem for config in compare.MODELS.values()]
    assert calls(folder) == {f"{name}/seed{seed}": 1 for name in names for seed in (0, 1)}
    said = capsys.readouterr().out
    assert f"1 of {2 * len(names)}: Panoptic SegFormer, seed 0 takes 4 minutes" in said
    found = rows(folder)
    # 50 is reached at the very end with seed 0, and after 200 + 200 * (50 - 25.5) / 25.5 with 1
    both = ["50.5 ± 0.7"] * 5
    assert found["Panoptic SegFormer"][:8] == [*both, "4.0 ± 0.1", "4.0", "700"]
    assert found["Mask2Former"][:8] == [*both, "15.8 ± 0.2", "16.0", "700"]
    assert all(
        float(row[8]) > 0.5 and float(row[9]) > 10 for row in found.values() if row[0] in both
    )
    with Image.open(folder / "docs" / "comparison_curve.png") as picture:
        assert picture.width > 600


def test_a_second_call_runs_what_is_missing(folder, data, capsys):
    run(folder, data, "--seeds", 0)
    (folder / "out" / "maskformer" / "seed0" / "metrics.json").unlink()
    capsys.readouterr()
    assert run(folder, data, "--seeds", 0, "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.count("done: ") == len(compare.MODELS) - 1 and "to do: " in out
    run(folder, data, "--seeds", 0)
    names = {Path(config).stem: 1 for config in compare.MODELS.values()} | {"maskformer": 2}
    assert calls(folder) == {f"{name}/seed0": count for name, count in names.items()}


def test_text_outside_the_marks_stays(folder, data):
    document = folder / "docs" / "comparison.md"
    document.parent.mkdir()
    document.write_text(f"# By hand\n\n{comparison.BEGIN}old{comparison.END}\n\n## Agreement\n")
    run(folder, data, "--seeds", 0)
    first = document.read_text()
    assert first.startswith("# By hand\n\n") and first.endswith("\n\n## Agreement\n")
    assert "old" not in first and "| Mask2Former" in first
    run(folder, data, "--seeds", 0)
    assert document.read_text() == first


def test_a_failed_run_is_named_and_the_others_go_on(folder, data, capsys, monkeypatch):
    monkeypatch.setitem(compare.MODELS, "MaskFormer", str(folder / "bad.yaml"))
    good = compare.CONFIGS / "maskformer.yaml"
    (folder / "bad.yaml").write_text(f"_BASE_: {good}\nVERSION: 2\n")
    monkeypatch.setattr(compare.Run, "train", _fails_for("MaskFormer", compare.Run.train))
    assert run(folder, data, "--seeds", 0) == 1
    assert "bad/seed0 failed: out of memory" in capsys.readouterr().err
    assert len(calls(folder)) == len(compare.MODELS) - 1
    assert "MaskFormer" not in rows(folder) and "Mask2Former" in rows(folder)


def _fails_for(model: str, train):
    return lambda run: "out of memory" if run.model == model else train(run)


def test_a_folder_of_other_settings_is_refused(folder, data):
    run(folder, data, "--seeds", 0)
    with pytest.raises(SystemExit, match="holds runs with other settings"):
        run(folder, [*data, "SOLVER.BASE_LR", "1.0"], "--seeds", 0)


def test_errors_are_one_sentence_before_anything_runs(folder, data):
    with pytest.raises(SystemExit, match="NOSUCH"):
        run(folder, [*data, "NOSUCH", "1"])
    assert not calls(folder)


def test_first_reaching():
    assert comparison.first_reaching([100, 200, 300], [20.0, 40, 60]) == 250
    assert comparison.first_reaching([100, 200], [100.0, 40]) == 50
    assert comparison.first_reaching([100, 200], [10.0, 49.9]) is None


@pytest.mark.slow
def test_with_the_real_train_net(tmp_path, data, monkeypatch):
    """Step times, a training of two iterations, its evaluation and its picture."""
    monkeypatch.setattr(compare, "generate_scenes", lambda *options: None)
    monkeypatch.setattr(compare, "MODELS", {"MaskFormer": "maskformer.yaml"})
    monkeypatch.setattr(compare, "STEPS", 1)
    small = ["SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0]
    options = ["--output", tmp_path / "out", "--document", tmp_path / "comparison.md"]
    options += ["--iterations", 2, "--evaluations", 1, "--seeds", 3]
    assert compare.main([str(x) for x in (*options, "--opts", *data, *small)]) == 0
    assert "| MaskFormer |" in (tmp_path / "comparison.md").read_text()
    with Image.open(tmp_path / "comparison_scene.jpg") as picture:
        assert picture.width > 2 * comparison.SIDE

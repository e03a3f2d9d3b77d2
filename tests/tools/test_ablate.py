"""Ablations: what is run, what is not run again, and what the tables say."""

import json
import re
from pathlib import Path

import ablate
import pytest
import runs
from PIL import Image
from tiny_model import write_tiny_model

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.scenes import ScenesSpec, write_scenes

DECLARED = """
depth:
  title: Depth
  paper: more is better
  rows:
    deep: {}
    frozen: {train: {MODEL.BACKBONE.FREEZE_AT: 1}}
merging:
  title: Merging
  paper: masks as a whole
  rows:
    mask-wise: {}
    few: {test: {TEST.DETECTIONS_PER_IMAGE: 7}}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A config, declarations, and a train_net.py that takes no time."""
    monkeypatch.setattr(runs, "TRAIN_NET", Path(__file__).with_name("fake_train_net.py"))
    (tmp_path / "config.yaml").write_text("SOLVER: {MAX_ITER: 40}\nVERSION: 2")
    (tmp_path / "declared.yaml").write_text(DECLARED)
    return tmp_path


def run(files, *arguments) -> int:
    options = {"config-file": "config.yaml", "ablations": "declared.yaml", "output": "out"}
    given = [text for key, name in options.items() for text in (f"--{key}", files / name)]
    return ablate.main([str(x) for x in (*given, *arguments)])


def calls(files) -> dict[str, int]:
    """How often each folder was given to train_net.py."""
    root = files / "out" / "runs"
    found = sorted(root.rglob("calls.txt"))
    return {str(p.parent.relative_to(root)): len(p.read_text().split()) for p in found}


SEED0 = {
    "BACKBONE.FREEZE_AT=1/seed0": 1,
    "BACKBONE.FREEZE_AT=1/seed0/default": 1,
    "base/seed0": 1,
    "base/seed0/TEST.DETECTIONS_PER_IMAGE=7": 1,
    "base/seed0/default": 1,
}
SEED1 = {name.replace("seed0", "seed1"): 1 for name in SEED0}


def test_everything_is_run_once(files, capsys):
    assert run(files, "--seeds", 0, 1) == 0
    assert calls(files) == SEED0 | SEED1
    text = (files / "out" / "ablations.md").read_text()
    assert text in capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.split("\n")]
    assert ["deep", "50.5 ± 0.7", "", "40.5", "60.5", "-", "-", "-", "2"] in lines
    assert ["frozen", "60.5 ± 0.7", "+10.0 ± 0.0", "50.5", "70.5", "-", "-", "-", "2"] in lines
    assert ["few", "30.5 ± 0.7", "-20.0 ± 0.0", "20.5", "40.5", "-", "-", "-", "2"] in lines
    assert "### Depth\n\nThe paper: more is better." in text
    with Image.open(files / "out" / "ablations.png") as picture:
        assert picture.width > 600


def test_a_second_call_runs_what_is_missing(files):
    run(files, "--seeds", 0, "--only", "depth")
    assert "base/seed0/TEST.DETECTIONS_PER_IMAGE=7" not in calls(files)
    (files / "out" / "runs" / "BACKBONE.FREEZE_AT=1" / "seed0" / "model_final.pth").unlink()
    run(files, "--seeds", 0, 1)
    assert calls(files) == SEED0 | SEED1 | {"BACKBONE.FREEZE_AT=1/seed0": 2}


def test_results_of_all_seeds_and_ablations_stay_in_the_tables(files):
    run(files, "--seeds", 0, 1)
    run(files, "--seeds", 0, "--only", "merging")
    text = (files / "out" / "ablations.md").read_text()
    assert "### Depth" in text and "50.5 ± 0.7" in text


def test_a_folder_of_other_settings_is_refused(files):
    run(files, "--seeds", 0)
    before = calls(files)
    with pytest.raises(SystemExit, match="holds runs with other settings"):
        run(files, "--seeds", 0, "--iterations", 50)
    assert calls(files) == before
    run(files, "--seeds", 0, "--jobs", 2, "--device", "cpu")  # these make no other result
    assert calls(files) == before


def test_a_failed_run_is_named_and_the_others_go_on(files, capsys):
    with open(files / "declared.yaml", "a") as file:
        file.write("    bad: {train: {SOLVER.GAMMA: 13.0}}\n")
    assert run(files, "--seeds", 0) == 1
    said = capsys.readouterr().err
    assert re.search(
        r"SOLVER.GAMMA=13.0/seed0 failed: fake_train_net.py: SOLVER.GAMMA is 13: give", said
    )
    assert calls(files) == SEED0 | {"SOLVER.GAMMA=13.0/seed0": 1}
    assert "| bad " in (files / "out" / "ablations.md").read_text()
    run(files, "--seeds", 0)
    assert calls(files)["SOLVER.GAMMA=13.0/seed0"] == 2, "it is tried again"


def test_dry_run(files, capsys):
    assert run(files, "--seeds", 0, "--dry-run") == 0
    assert not (files / "out").exists()
    assert capsys.readouterr().out.count("to do: ") == 3
    run(files, "--seeds", 0, "--only", "depth")
    capsys.readouterr()
    run(files, "--seeds", 0, "--dry-run")
    out = capsys.readouterr().out
    assert (out.count("done: "), out.count("to do: ")) == (2, 1)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("{train: {NO_SUCH_KEY: 1}}", "Ablation 'merging', row 'new': .*NO_SUCH_KEY"),
        ("{test: {SOLVER.MAX_ITER: many}}", "row 'new': .*MAX_ITER"),
        ("[1]", "is no file of ablations"),
    ],
)
def test_rows_that_cannot_be_run_stop_before_anything_runs(files, row, sentence):
    with open(files / "declared.yaml", "a") as file:
        file.write(f"    new: {row}\n")
    with pytest.raises(SystemExit, match=sentence):
        run(files)
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "colour"], "no ablation 'colour'"),
        (["--ablations", "none.yaml"], "'none.yaml'"),
        (["--config-file", "none.yaml"], "'none.yaml' does not exist"),
        (["--opts", "NO.SUCH", "1"], "NO.SUCH"),
    ],
)
def test_errors_are_one_sentence(files, arguments, sentence):
    with pytest.raises(SystemExit, match=sentence):
        run(files, *arguments)


def test_differences_are_of_the_seeds_in_common():
    first = {0: {"PQ": 50.0}, 1: {"PQ": 54.0}, 2: {"PQ": 52.0}}
    other = {0: {"PQ": 51.0}, 1: {"PQ": 56.0}, 3: {"PQ": 99.0}}
    line = ablate.as_table({"a": first, "b": other}).split("\n")[-1]
    assert line.split("|")[3].strip() == "+1.5 ± 0.5"
    assert ablate.mean_and_error([3.0]) == "3.0"


def test_the_declared_ablations_are_those_of_the_paper():
    """Every row's keys exist in the config, and rows of these two share one training."""
    ablations = ablate.read_ablations(str(ablate.ABLATIONS), [])
    assert set(ablations) >= {"merging", "version", "decoupling", "layers", "encoder"}
    for name in {"merging", "exit"} & ablations.keys():
        assert not any(row.train for row in ablations[name]["rows"])


@pytest.mark.parametrize("config", ["ablation", "max_deeplab"])
def test_rows_change_keys_of_the_config_that_they_start_from(config):
    declared = ablate.ABLATIONS
    if config != "ablation":
        declared = declared.with_name(f"ablations_{config}.yaml")
    ablations = ablate.read_ablations(str(declared), [])
    for ablation in ablations.values():
        first, *others = ablation["rows"]
        assert others and not first.train and not first.test
    file = str(ablate.CONFIG.with_name(f"{config}.yaml"))
    args = ablate.parse_args(["--output", "nowhere", "--config-file", file])
    ablate.check_settings(args, {}, ablations)


def test_max_deeplab_goes_without_each_loss_and_each_path():
    declared = ablate.ABLATIONS.with_name("ablations_max_deeplab.yaml")
    ablations = ablate.read_ablations(str(declared), ["losses", "paths"])
    losses, paths = (entry["rows"][1:] for entry in ablations.values())
    switched_off = {key: value for row in losses for key, value in row.train.items()}
    kinds = ("PQ", "MASK_ID", "INSTANCE", "SEMANTIC")
    assert switched_off == {f"MODEL.LOSS.{kind}_WEIGHT": 0.0 for kind in kinds}
    kept = [set(row.train["MODEL.MAX_DEEPLAB.ATTENTION_PATHS"]) for row in paths]
    every = {"p2p", "p2m", "m2p", "m2m"}
    assert [every - some for some in kept] == [{"p2p"}, {"p2m"}, {"m2p"}, {"m2m"}]


@pytest.mark.slow
def test_with_the_real_train_net(tmp_path):
    """One training of two iterations on generated scenes, and its evaluation."""
    data = tmp_path / "data"
    write_scenes(data, ScenesSpec(train=2, val=2, size=64, level="hard"))
    files = ("{}", "panoptic_{}.json", "panoptic_{}")
    splits = ("train", "val")
    entries = [[f"ablate_{s}", *(str(data / f.format(s)) for f in files)] for s in splits]
    config, _ = write_tiny_model(tmp_path)
    names = f"DATASETS: {{TEST: [ablate_val], REGISTER: {json.dumps(entries)}, "
    text = config.read_text().replace("toys_train", "ablate_train")
    (tmp_path / "config.yaml").write_text(text.replace("DATASETS: {", names))
    (tmp_path / "declared.yaml").write_text("a: {title: A, paper: b, rows: {row: {}}}")
    try:
        arguments = ["--iterations", 2, "--seeds", 5, "--opts", "SOLVER.IMS_PER_BATCH", 2]
        assert run(tmp_path, *arguments) == 0
    finally:
        for name in DatasetCatalog.list():
            if name.startswith("ablate_"):
                DatasetCatalog.remove(name)
                MetadataCatalog.remove(name)
    folder = tmp_path / "out" / "runs" / "base" / "seed5"
    log = (folder / "metrics.json").read_text().splitlines()
    assert json.loads(log[-1])["iteration"] == 1
    figures = json.loads(ablate.metrics_file(folder / "default").read_text())
    assert 0 <= figures["panoptic_seg"]["PQ"] <= 100

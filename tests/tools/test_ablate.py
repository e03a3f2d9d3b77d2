"""Ablations: what is run, what is not run again, what is told, and what the tables say."""

import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ablation import steps
from ablation.declarations import read_ablations
from ablation.plan import Planner
from ablation.results import RowResult
from ablation.runner import estimate
from PIL import Image
from tiny_model import TOYS

from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.engine import restore_class_metadata

TOOLS = Path(__file__).parents[2] / "tools"
FAKE = Path(__file__).with_name("fake_train_net.py")
spec = importlib.util.spec_from_file_location("ablate", TOOLS / "ablate.py")
ablate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ablate)

DECLARED = """
depth:
  title: Depth
  paper: more is better
  rows:
    three blocks: {}
    one block: {THING_MASK_LAYERS: 1}
merging:
  title: Merging
  paper: masks as a whole
  rows:
    mask-wise: {}
    pixel-wise: {TEST.MERGING: pixel_argmax}
"""
CONFIG = """
MODEL:
  META_ARCHITECTURE: PanopticSegFormer
  PSFORMER: {THING_MASK_LAYERS: 3}
DATASETS: {TRAIN: [toys_train], TEST: [toy_val]}
SOLVER: {MAX_ITER: 40}
VERSION: 2
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A config, declarations, and a train_net.py that takes no time."""
    monkeypatch.setattr(steps, "TRAIN_NET", FAKE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "declared.yaml").write_text(DECLARED)
    restore_class_metadata(TOYS)
    yield tmp_path
    MetadataCatalog.remove("toys_train")


def run(files, *arguments) -> int:
    return ablate.main(
        [
            *("--config-file", str(files / "config.yaml"), "--device", "cpu", "--iterations", "40"),
            *("--ablations", str(files / "declared.yaml"), "--output", str(files / "out")),
            *map(str, arguments),
        ]
    )


def calls(files) -> dict[str, int]:
    """How often each folder was given to train_net.py."""
    found = sorted((files / "out").rglob("calls.txt"))
    root = files / "out" / "runs"
    return {str(p.parent.relative_to(root)): len(p.read_text().split()) for p in found}


BASE, ONE = "base/seed{}", "THING_MASK_LAYERS=1/seed{}"
ALL = {
    path.format(seed) + part: 1
    for seed in (0, 1)
    for path, parts in (
        (BASE, ("", "/evaluations/default", "/evaluations/TEST.MERGING=pixel_argmax")),
        (ONE, ("", "/evaluations/default")),
    )
    for part in parts
}


def test_everything_is_run_once(files, capsys):
    assert run(files, "--seeds", 0, 1) == 0
    assert calls(files) == ALL
    tables = (files / "out" / "ablations.md").read_text()
    assert tables.strip() in capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.split("\n")]
    assert ["three blocks", "80.5 ± 0.7", "", "70.5", "90.5", "-", "-", "-", "2"] in lines
    assert ["one block", "60.5 ± 0.7", "-20.0 ± 0.0", "50.5", "70.5", "-", "-", "-", "2"] in lines
    assert ["pixel-wise", "60.5 ± 0.7", "-20.0 ± 0.0", "50.5", "70.5", "-", "-", "-", "2"] in lines
    content = json.loads((files / "out" / "ablations.json").read_text())
    row = content["depth"]["rows"][1]
    assert row["overrides"] == {"THING_MASK_LAYERS": 1}
    assert (row["mean"]["PQ"], row["n"]) == (60.5, 2)
    assert row["seeds"]["1"]["PQ_th"] == 51
    with Image.open(files / "out" / "ablations.png") as picture:
        assert picture.width > 600


def test_a_second_call_runs_what_is_missing(files):
    run(files, "--seeds", 0, "--only", "depth")
    done = {path: 1 for path in ALL if "seed0" in path and "pixel_argmax" not in path}
    assert calls(files) == done
    run(files, "--seeds", 0, 1)
    assert calls(files) == ALL


def test_results_of_all_seeds_and_ablations_stay_in_the_tables(files):
    run(files, "--seeds", 0, 1)
    run(files, "--seeds", 0, "--only", "merging")
    tables = (files / "out" / "ablations.md").read_text()
    assert "### Depth" in tables and "80.5 ± 0.7" in tables


def test_another_config_is_told_and_redone_on_demand(files, capsys):
    run(files, "--seeds", 0)
    before = calls(files)
    assert run(files, "--seeds", 0, "--iterations", 50) == 0
    assert calls(files) == before
    told = capsys.readouterr().err
    assert told.count("was made with another config (SOLVER.MAX_ITER)") == 2
    run(files, "--seeds", 0, "--iterations", 50, "--redo")
    assert calls(files) == before
    run(files, "--seeds", 0, "--iterations", 50)
    assert calls(files) == before
    assert "another config" not in capsys.readouterr().err


def test_another_test_setting_needs_no_training(files, capsys):
    run(files, "--seeds", 0)
    run(files, "--seeds", 0, "--redo", "--opts", "MODEL.PSFORMER.TOPK", 20)
    assert set(calls(files).values()) == {1}  # evaluations are in new folders
    states = (files / "out").rglob("state.json")
    tops = [json.loads(p.read_text())["identity"].get("MODEL.PSFORMER.TOPK") for p in states]
    assert sorted(map(str, tops)) == ["20", "20", "20", "None", "None"]


def test_device_and_folder_make_no_other_run(files):
    run(files, "--seeds", 0)
    before = calls(files)
    run(files, "--seeds", 0, "--opts", "DATALOADER.NUM_WORKERS", 3)
    assert calls(files) == before


def test_a_failed_run_is_told_and_the_others_go_on(files, capsys):
    with open(files / "declared.yaml", "a") as file:
        file.write("    bad: {NUM_POINTS: 13}\n")
    assert run(files, "--seeds", 0, "--jobs", 1) == 1
    told = capsys.readouterr().err
    assert "NUM_POINTS=13, seed 0 failed: train_net.py: NUM_POINTS is 13: that is bad" in told
    bad = {"NUM_POINTS=13/seed0": 1}
    assert calls(files) == {path: 1 for path in ALL if "seed0" in path} | bad
    assert "| bad | - |" in (files / "out" / "ablations.md").read_text()
    run(files, "--seeds", 0)
    assert calls(files)["NUM_POINTS=13/seed0"] == 2, "it is tried again"


def test_dry_run_tells_what_is_left(files, capsys):
    assert run(files, "--seeds", 0, 1, "--dry-run", "--jobs", 2) == 0
    assert not (files / "out").exists()
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0] == "base, seed 0: 0 of 40 iterations, 0 of 2 evaluations"
    assert len(lines) == 5 and "if an iteration takes" in lines[-1]
    run(files, "--seeds", 0)
    capsys.readouterr()
    run(files, "--seeds", 0, 1, "--dry-run", "--jobs", 1)
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0] == "base, seed 0: 40 of 40 iterations, 2 of 2 evaluations"
    # two trainings of 40 iterations at half a second, three evaluations at 12
    assert "left to do: 0:01:16 with --jobs 1 (as fast as runs so far)" in lines[-1]


def test_speed_is_guessed_until_something_ran(files):
    planner = Planner(str(files / "config.yaml"), ("SOLVER.MAX_ITER", "40"), files / "out")
    runs = planner.plan(read_ablations(files / "declared.yaml"), [0])
    assert estimate(runs, guess=2.0) == (2 * 40 * 2.0 + 3 * 12, False)


def test_ctrl_c_ends_the_processes_and_keeps_what_is_done(files):
    """In a process of its own, which gets the signal as from the terminal."""
    with open(files / "declared.yaml", "a") as file:
        file.write("    endless: {NUM_POINTS: 14}\n")
    code = (
        f"import sys; sys.path[:0] = {[str(TOOLS), str(TOOLS.parent), str(FAKE.parents[1])]!r}\n"
        # whoever runs the tests in the background has this signal ignored
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import ablate\nfrom ablation import steps\nfrom pathlib import Path\n"
        "from tiny_model import TOYS\n"
        "from d2_psformer.engine import restore_class_metadata\n"
        f"restore_class_metadata({TOYS!r})\n"
        f"steps.TRAIN_NET = Path({str(FAKE)!r})\n"
        "sys.exit(ablate.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--config-file", str(files / "config.yaml")]
    command += ["--ablations", str(files / "declared.yaml"), "--output", str(files / "out")]
    command += ["--device", "cpu", "--iterations", "40", "--seeds", "0", "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = files / "out" / "runs" / "NUM_POINTS=14" / "seed0"
    while not (folder / "metrics.json").is_file():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    (child,) = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from here" in told and "failed" not in told
    assert not Path(f"/proc/{child}").exists()
    assert json.loads((folder / "state.json").read_text())["state"] == "started"
    assert "| one block | 60.0 |" in (files / "out" / "ablations.md").read_text()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("{NO_SUCH_KEY: 1}", "Ablation 'merging', row 'new': .*NO_SUCH_KEY"),
        ("{ENCODER: best}", "row 'new': MODEL.PSFORMER.ENCODER is 'best'"),
        ("{LOCATION_SUPERVISION: none}", "set CLASSIFY to 'mask'"),
        ("[1]", "is no file of ablations"),
    ],
)
def test_rows_that_cannot_be_run_are_told_before_anything_runs(files, row, sentence):
    with open(files / "declared.yaml", "a") as file:
        file.write(f"    new: {row}\n")
    with pytest.raises(SystemExit) as stop:
        run(files)
    assert re.search(sentence, str(stop.value))
    assert not (files / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "colour"], "no ablation 'colour'"),
        (["--ablations", "none.yaml"], "'none.yaml' does not exist"),
        (["--config-file", "none.yaml"], "'none.yaml' does not exist"),
        (["--opts", "NO.SUCH", "1"], "NO.SUCH"),
    ],
)
def test_errors_are_one_sentence(files, arguments, sentence):
    with pytest.raises(SystemExit) as stop:
        run(files, *arguments)
    assert sentence in str(stop.value)


def test_figures_over_seeds():
    first = RowResult(None, {0: {"PQ": 50.0}, 1: {"PQ": 54.0}, 2: {"PQ": 52.0}})
    other = RowResult(None, {0: {"PQ": 51.0}, 1: {"PQ": 56.0}, 3: {"PQ": 99.0}})
    assert (first.mean("PQ"), first.spread("PQ")) == (52.0, 2.0)
    # differences of the seeds in common: 1 and 2
    assert other.difference(first) == pytest.approx((1.5, 0.5))
    alone = RowResult(None, {0: {"PQ": 50.0, "PQ_th": None}})
    assert (alone.spread("PQ"), alone.mean("PQ_th"), alone.difference(first)) == (
        None,
        None,
        (0, None),
    )
    assert alone.difference(RowResult(None, {3: {"PQ": 1.0}})) is None


def test_the_declared_ablations_are_those_of_the_paper():
    ablations = {a.name: a for a in read_ablations(ablate.DEFAULT_FILE)}
    assert set(ablations) == {
        *("merging", "location", "decoupling", "supervision", "layers", "exit", "encoder")
    }
    for ablation in ablations.values():
        assert ablation.rows[0].train == ablation.rows[0].test == {}
        assert len(ablation.rows) > 1
    for name in ("merging", "exit"):
        assert not any(row.train for row in ablations[name].rows), "they share one training"


def test_the_declared_ablations_can_be_built():
    planner = Planner(str(ablate.CONFIG), (), Path("nowhere"))
    runs = planner.plan(read_ablations(ablate.DEFAULT_FILE), [0])
    assert len({run.training.folder for run in runs}) == len(runs) == 11

"""``psformer evaluate`` of files, with the names of panopticapi's arguments."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from d2_psformer.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(make_panoptic):
    """A ground truth, and as predictions a copy of it without crowds and iscrowd keys."""
    gt = Path(make_panoptic().json)
    shutil.copytree(gt.parent / "panoptic", gt.parent / "predictions")
    content = json.loads(gt.read_text())
    (gt.parent / "predictions.json").write_text(json.dumps(content))
    return gt, gt.parent / "predictions.json"


def arguments(gt, pred, *more):
    return ["evaluate", "--gt_json_file", str(gt), "--pred_json_file", str(pred), *more]


def change_predictions(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_as_a_program(files, tmp_path):
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error::RuntimeWarning"),
            *("-m", "d2_psformer"),
            *arguments(*files, "--per-class", "--json", str(out)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["All", "|", "100.0", "100.0", "100.0", "4"] in rows
    assert ["Stuff", "|", "100.0", "100.0", "100.0", "2"] in rows
    assert ["large", "|", "-", "-", "-", "0"] in rows
    assert ["cube", "|", "thing", "100.0", "100.0", "100.0", "4", "0", "0"] in rows
    figures = json.loads(out.read_text())
    assert figures["num_images"] == 4
    assert figures["Things"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 2}
    assert figures["by_size"]["large"]["All"]["pq"] is None


def test_files_are_evaluated_without_torch_and_opencv(files):
    code = (
        "import sys; from d2_psformer.cli.main import main; main(sys.argv[1:]); "
        "sys.exit(str({'torch', 'cv2', 'scipy'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments(*files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "set()"


def test_the_folders_can_be_named(files):
    gt, pred = files
    shutil.move(gt.parent / "predictions", gt.parent / "elsewhere")
    with pytest.raises(SystemExit, match="predictions' does not exist"):
        main(arguments(gt, pred))
    folder = str(gt.parent / "elsewhere")
    main(arguments(gt, pred, "--pred_folder", folder, "--gt_folder", folder))


def test_size_bounds(files, tmp_path):
    out = tmp_path / "figures.json"
    main(arguments(*files, "--size-bounds", "100", "400", "--json", str(out)))
    sizes = json.loads(out.read_text())["by_size"]
    assert {size: row["Things"]["n"] for size, row in sizes.items()} == {
        "small": 0,
        "medium": 2,
        "large": 0,
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c["annotations"].pop(), "has no prediction for image 103"),
        (
            lambda c: c["annotations"][0]["segments_info"].pop(),
            "predictions.json': prediction segment 999 is in the map but not listed",
        ),
        (
            lambda c: c["annotations"][1]["segments_info"][0].update(category_id=7),
            "predictions.json' has category 7, which the categories of the data set lack",
        ),
        (lambda c: c["annotations"][2].update(file_name="no.png"), "'no.png' of image 102"),
        (lambda c: c.pop("annotations"), "has no 'annotations'"),
    ],
)
def test_bad_predictions_end_in_one_sentence(files, capsys, change, sentence):
    change_predictions(files[1], change)
    with pytest.raises(SystemExit) as ended:
        main(arguments(*files))
    assert sentence in ended.value.code.split("\n")[0]
    assert not capsys.readouterr().out


def renumbered(content: dict, ids: dict[int, int]) -> None:
    segments = [s for a in content["annotations"] for s in a["segments_info"]]
    for entry, key in [(c, "id") for c in content["categories"]] + [
        (s, "category_id") for s in segments
    ]:
        entry[key] = ids[entry[key]]


@pytest.mark.parametrize(
    "ids", [{3: 5, 5: 12, 12: 40, 40: 3}, {3: 0, 5: 1, 12: 2, 40: 3}], ids=["permuted", "counted"]
)
def test_the_names_of_predicted_classes_decide(files, ids, caplog, capsys):
    change_predictions(files[1], lambda c: renumbered(c, ids))
    main(arguments(*files))
    assert "All       | 100.0  100.0  100.0     4" in capsys.readouterr().out
    assert "predictions.json' have other ids" in caplog.text
    change_predictions(
        files[1], lambda c: c["annotations"][0]["segments_info"][0].update(category_id=41)
    )
    with pytest.raises(SystemExit, match="has category 41, which the categories of the data set"):
        main(arguments(*files))


def test_predictions_without_categories_have_the_ids_of_the_ground_truth(files, capsys, caplog):
    change_predictions(files[1], lambda c: c.pop("categories"))
    main(arguments(*files))
    assert "All       | 100.0  100.0  100.0     4" in capsys.readouterr().out
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c[0].update(name="road"), "only the first has stuff 'road'; only the second"),
        (lambda c: c[1].update(isthing=0), "only the first has stuff 'ball'; only the second"),
        (lambda c: c.pop(), "only the first has none; only the second has thing 'cube'"),
        (lambda c: c[1].pop("isthing"), "lacks 'isthing'"),
    ],
)
def test_predictions_of_other_classes_are_refused(files, change, sentence):
    for path in files:  # ids that only count
        change_predictions(path, lambda c: renumbered(c, {3: 1, 5: 2, 12: 3, 40: 4}))
    change_predictions(files[1], lambda c: change(c["categories"]))
    with pytest.raises(SystemExit) as ended:
        main(arguments(*files))
    assert sentence in ended.value.code
    assert "predictions.json'" in ended.value.code


def test_a_ground_truth_needs_categories(files):
    change_predictions(files[0], lambda c: c.pop("categories"))
    with pytest.raises(SystemExit, match="has no list 'categories'"):
        main(arguments(*files))


def test_the_same_table_as_panopticapi(files, capsys):
    api = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    gt, pred = files
    theirs = api.pq_compute(str(gt), str(pred))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    main(arguments(gt, pred))
    ours = [line.split() for line in capsys.readouterr().out.splitlines()]
    for split in ("All", "Things", "Stuff"):
        row = next(line for line in printed if line[:1] == [split])
        assert row in ours
    assert theirs["All"]["n"] == 4

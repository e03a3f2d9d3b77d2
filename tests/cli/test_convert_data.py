"""``psformer convert-data``: what it prints, refuses, and does when it is run again."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from d2_psformer.cli import convert_data
from d2_psformer.data.converters import READERS, TARGETS
from d2_psformer.data.converters.labelme import Labelme
from d2_psformer.utils.errors import UserError

ROOT = Path(__file__).parents[2]


def convert(*arguments) -> int:
    parser = argparse.ArgumentParser()
    convert_data.add_arguments(parser)
    return convert_data.run(parser.parse_args(["--workers", "0", *map(str, arguments)]))


def square(label: str, x0: int, x1: int) -> dict:
    return {"label": label, "points": [[x0, 2], [x1, 8]], "shape_type": "rectangle"}


def labelme(folder: Path, name: str, *shapes: dict, **changes) -> Path:
    """A JSON and its image of 20 by 10 pixels."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (20, 10)).save(folder / f"{name}.png")
    content = {"imagePath": f"{name}.png", "imageHeight": 10, "imageWidth": 20, "shapes": shapes}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content | changes))
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    labelme(folder, "a", square("cat", 0, 5), square("dog", 10, 20))
    labelme(folder, "b", square("sky", 0, 20))
    return folder


def test_options_name_every_format():
    parser = argparse.ArgumentParser()
    convert_data.add_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    assert tuple(choices["format"]) == tuple(READERS)
    assert tuple(choices["to"]) == tuple(TARGETS)
    assert all(f"  {name} " in convert_data.EPILOG for name in READERS)


def test_two_splits_share_their_categories(photos, tmp_path, capsys):
    out = tmp_path / "pets"
    convert("labelme", photos, out, "--stuff", "sky")
    shown = capsys.readouterr().out
    assert "pets_train: 2 images, 2 things and 1 stuff segment, 48% of the pixels void" in shown
    labelme(tmp_path / "more", "c", square("dog", 0, 20))
    convert("labelme", tmp_path / "more", out, "--stuff", "sky", "--split", "val")
    train, val = (json.loads((out / f"panoptic_{s}.json").read_text()) for s in ("train", "val"))
    assert train["categories"] == val["categories"]
    assert [(c["name"], c["isthing"]) for c in val["categories"]] == [
        ("cat", 1),
        ("dog", 1),
        ("sky", 0),
    ]
    assert val["annotations"][0]["segments_info"] == [
        {"id": 1, "category_id": 2, "iscrowd": 0, "area": 120, "bbox": [0, 2, 20, 6]}
    ]
    datasets = yaml.safe_load((out / "data.yaml").read_text())["DATASETS"]
    assert datasets["REGISTER"][1] == [
        *("pets_val", "../more", "panoptic_val.json", "panoptic_val"),
    ]
    assert (datasets["TRAIN"], datasets["TEST"]) == (["pets_train"], ["pets_val"])
    assert not [*out.glob("*.jsonl")]


def test_a_class_that_the_other_split_lacks_is_refused(photos, tmp_path):
    convert("labelme", photos, tmp_path / "out", "--stuff", "sky")
    labelme(tmp_path / "more", "c", square("cow", 0, 20))
    more = ("labelme", tmp_path / "more", tmp_path / "out", "--split", "val")
    with pytest.raises(UserError, match=r"Class 'cow' is not in '.*categories\.json'"):
        convert(*more)
    labelme(tmp_path / "more", "c", square("sky", 0, 20))
    with pytest.raises(UserError, match="Class 'sky' is among the stuff in"):
        convert(*more)


def test_a_background_takes_what_is_left(photos, tmp_path, capsys):
    convert("labelme", photos, tmp_path / "out", "--background", "ground", "--stuff", "sky")
    assert "2 things and 3 stuff segments, 0% of the pixels void" in capsys.readouterr().out
    with pytest.raises(UserError, match="The background 'sky' is a class of things"):
        convert("labelme", photos, tmp_path / "other", "--background", "sky")
    convert("labelme", photos, tmp_path / "other", "--background", "sky", "--stuff", "sky")
    assert "2 things and 2 stuff segments, 0% of the pixels void" in capsys.readouterr().out


def test_void_that_costs_nothing_is_pointed_out(photos, tmp_path, capsys):
    (photos / "b.json").unlink()
    convert("labelme", photos, tmp_path / "out")
    assert "--background NAME" in capsys.readouterr().out


def test_annotation_without_a_segment_is_pointed_out(photos, tmp_path, capsys):
    for name in "ab":
        labelme(photos, name)
    convert("labelme", photos, tmp_path / "out", "--classes", "cat", "dog")
    assert "No image has a segment" in capsys.readouterr().out


def test_classes_may_be_lines_of_a_file(photos, tmp_path):
    (tmp_path / "names.txt").write_text("dog\ncat\n\nsky\n", encoding="utf-8")
    convert("labelme", photos, tmp_path / "out", "--classes", tmp_path / "names.txt")
    content = json.loads((tmp_path / "out" / "panoptic_train.json").read_text())
    assert [c["name"] for c in content["categories"]] == ["dog", "cat", "sky"]


def test_a_file_of_classes_that_is_missing_or_no_text(photos, tmp_path):
    with pytest.raises(OSError, match=r"names\.txt"):
        convert("labelme", photos, tmp_path / "out", "--classes", tmp_path / "names.txt")
    with pytest.raises(UserError, match=r"a\.png' is no text in UTF-8"):
        convert("labelme", photos, tmp_path / "out", "--classes", photos / "a.png")


def test_an_interrupted_run_goes_on(photos, tmp_path):
    whole = (photos / "b.json").read_text()
    (photos / "b.json").write_text(whole[:50])
    names = ("--classes", "cat", "dog", "sky")
    with pytest.raises(UserError, match=r"photos/b\.json' is not valid JSON"):
        convert("labelme", photos, tmp_path / "out", *names)
    first = tmp_path / "out" / "panoptic_train" / "a.png"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "out" / "panoptic_train.json").exists()
    (photos / "b.json").write_text(whole)
    convert("labelme", photos, tmp_path / "out", *names)
    assert first.stat().st_mtime_ns == before
    content = json.loads((tmp_path / "out" / "panoptic_train.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]


def test_a_finished_split_is_replaced_only_by_force(photos, tmp_path):
    out = tmp_path / "out"
    convert("labelme", photos, out)
    with pytest.raises(UserError, match="lists 'out_train' already"):
        convert("labelme", photos, out)
    (photos / "a.json").unlink()
    convert("labelme", photos, out, "--force", "--stuff", "sky")
    assert [path.name for path in (out / "panoptic_train").iterdir()] == ["b.png"]


def test_processes_write_the_same(photos, tmp_path):
    for folder, workers in (("one", 0), ("two", 2)):
        convert("labelme", photos, tmp_path / folder, "--workers", workers)
    one, two = (
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("panoptic*/*")}
        for f in ("one", "two")
    )
    assert one == two
    assert len(one) == 2


def test_predictions_need_the_categories_of_another_file(photos, tmp_path):
    convert("labelme", photos, tmp_path / "out")
    json_file = tmp_path / "out" / "panoptic_train.json"
    content = json.loads(json_file.read_text())
    for annotation in content["annotations"]:
        annotation["segments_info"] = [{**s, "score": 0.5} for s in annotation["segments_info"]]
    json_file.write_text(json.dumps({"annotations": content["annotations"]}))
    predictions = ("coco-panoptic", json_file, tmp_path / "i", "--images", photos, "--to")
    with pytest.raises(UserError, match="has no 'categories'"):
        convert(*predictions, "instances")
    convert(*predictions, "instances", "--categories", tmp_path / "out" / "categories.json")
    found = json.loads((tmp_path / "i" / "instances_train.json").read_text())
    assert [a["score"] for a in found["annotations"]] == [0.5] * 3
    assert [a["area"] for a in found["annotations"]] == [60, 30, 120]


def test_results_do_not_go_among_the_sources(photos):
    with pytest.raises(UserError, match=r"lies in '.*photos', whose files are read"):
        convert("labelme", photos, photos / "out")
    assert not (photos / "out").exists()


def test_ctrl_c_is_one_line(photos, tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Labelme, "read", interrupt)
    assert convert("labelme", photos, tmp_path / "out") == 130
    assert "goes on where it stopped" in capsys.readouterr().err


def test_semantic_pngs_list_their_classes_in_data_yaml(photos, tmp_path):
    convert("labelme", photos, tmp_path / "out", "--to", "semantic")
    entry = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["DATASETS"]["REGISTER"][0]
    assert entry == ["out_train", "../photos", "semantic_train", ["cat", "dog", "sky"]]
    labels = np.asarray(Image.open(tmp_path / "out" / "semantic_train" / "a.png"))
    assert sorted(np.unique(labels)) == [0, 1, 255]


def test_help_is_fast_and_needs_no_torch():
    code = (
        "import argparse, sys; from d2_psformer.cli import convert_data as c; "
        "c.add_arguments(argparse.ArgumentParser()); "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

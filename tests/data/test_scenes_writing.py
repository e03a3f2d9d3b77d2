"""Generated scenes on disk: the command, the files, and that they are all there or not at all."""

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import read_panoptic_png
from d2_psformer.data.scenes import (
    LEVELS,
    SCENES_CATEGORIES,
    ScenesSpec,
    generate_scene,
    write_scenes,
    writing,
)
from d2_psformer.utils.errors import UserError
from d2_psformer.utils.locks import lock

SPEC = ScenesSpec(train=5, val=3, size=64, seed=4)
SCRIPT = Path(__file__).parents[2] / "datasets" / "generate_scenes.py"


def contents(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    assert write_scenes(root, SPEC)
    return root


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("val", 3)])
def test_files_hold_the_scenes(root, split, count):
    content = json.loads((root / f"panoptic_{split}.json").read_text())
    assert content["categories"] == SCENES_CATEGORIES
    assert len(content["images"]) == len(content["annotations"]) == count
    assert len(list((root / split).iterdir())) == count
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        assert image["id"] == annotation["image_id"]
        picture, ids, segments_info = generate_scene(image["id"], size=64, seed=4)
        assert annotation["segments_info"] == segments_info
        id_map = root / f"panoptic_{split}" / annotation["file_name"]
        np.testing.assert_array_equal(read_panoptic_png(id_map), ids)
        read = cv2.imread(str(root / split / image["file_name"]))[..., ::-1]
        assert read.shape == (image["height"], image["width"], 3)
        assert np.abs(read.astype(int) - picture).mean() < 4  # JPEG


def test_splits_share_no_image(root):
    stems = [{p.stem for p in (root / split).iterdir()} for split in ("train", "val")]
    assert not stems[0] & stems[1]


def test_workers_change_nothing(root, tmp_path):
    write_scenes(tmp_path / "scenes", SPEC, workers=2)
    assert contents(tmp_path / "scenes") == contents(root)


def test_one_split_does_not_depend_on_the_other(root, tmp_path):
    write_scenes(tmp_path / "scenes", ScenesSpec(train=1, val=3, size=64, seed=4))
    one = {k: v for k, v in contents(tmp_path / "scenes").items() if k.startswith("val/")}
    assert one == {k: v for k, v in contents(root).items() if k.startswith("val/")}


def test_the_same_data_set_is_left_alone_and_another_replaced(tmp_path):
    root = tmp_path / "scenes"
    small = ScenesSpec(train=2, val=1, size=64)
    assert write_scenes(root, small)
    before = (root / "panoptic_train.json").stat().st_mtime_ns
    assert not write_scenes(root, small)
    assert (root / "panoptic_train.json").stat().st_mtime_ns == before
    assert write_scenes(root, ScenesSpec(train=1, val=1, size=64, seed=1))
    assert len(list((root / "train").iterdir())) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["scenes"]


def test_an_interrupted_run_leaves_what_was_there(tmp_path, monkeypatch):
    root = tmp_path / "scenes"
    write_scenes(root, ScenesSpec(train=1, val=1, size=64))
    before = contents(root)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "generate_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(root, ScenesSpec(train=2, val=1, size=64))
    assert contents(root) == before
    assert [p.name for p in tmp_path.iterdir()] == ["scenes"]


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(UserError, match=r"not empty and has no scenes\.json"):
        write_scenes(tmp_path, SPEC)
    assert contents(tmp_path) == {"holiday.jpg": b"dear"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 32}, "--size 32"),
        ({"val": -1}, "negative"),
        ({"train": 10**8}, "at most"),
        ({"level": "easy"}, "no level 'easy'"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        ScenesSpec(**wrong)


@pytest.fixture
def command(monkeypatch):
    specification = importlib.util.spec_from_file_location("generate_scenes", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["generate_scenes.py", *map(str, arguments)])
        module.main()

    run.module = module
    return run


def test_defaults_of_the_command_are_those_of_the_package(command):
    args = command.module.parse_arguments([])
    assert ScenesSpec(args.train, args.val, args.size, args.seed, args.level) == ScenesSpec()
    for level in LEVELS:
        assert command.module.parse_arguments(["--level", level]).level == level


def test_a_link_to_the_folder_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "scenes").symlink_to(tmp_path / "disk")
    for seed in (0, 1):
        assert write_scenes(tmp_path / "scenes", ScenesSpec(train=1, val=1, size=64, seed=seed))
    assert (tmp_path / "scenes").is_symlink()
    assert (tmp_path / "disk" / "panoptic_val.json").is_file()


def test_command_writes_once(root, tmp_path, command, capsys):
    arguments = ("--output", tmp_path / "scenes", "--train", 5, "--val", 3, "--size", 64)
    for word in ("written", "already there"):
        command(*arguments, "--seed", 4, "--workers", 1)
        assert capsys.readouterr().out.strip().endswith(word)
    assert contents(tmp_path / "scenes") == contents(root)


def test_command_takes_its_folder_from_the_environment(tmp_path, command, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    command("--train", 1, "--val", 1, "--size", 64, "--workers", 1)
    assert (tmp_path / "scenes" / "panoptic_val.json").is_file()


def test_hard_scenes_have_a_folder_of_their_own(tmp_path, command, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    arguments = ("--train", 1, "--val", 1, "--size", 64, "--workers", 1)
    command(*arguments, "--level", "hard")
    command(*arguments)
    hard, standard = (
        json.loads((tmp_path / name / "panoptic_val.json").read_text())
        for name in ("scenes_hard", "scenes")
    )
    assert hard["info"]["level"] == "hard"
    assert "level" not in standard["info"], "as the files were before there were levels"
    for content, level in ((hard, "hard"), (standard, "standard")):
        _, _, segments_info = generate_scene(10_000_000, size=64, level=level)
        assert content["annotations"][0]["segments_info"] == segments_info
    assert {"scenes_hard_train", "scenes_hard_val"} <= set(DatasetCatalog.list())


def test_command_ends_bad_input_in_one_sentence(tmp_path, command):
    with pytest.raises(SystemExit, match="--size 8 is too small"):
        command("--output", tmp_path / "scenes", "--size", 8)
    assert not (tmp_path / "scenes").exists()


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    pytest.importorskip("fcntl")
    left, in_use, other = (
        tmp_path / name for name in (".scenes.partial-a", ".scenes.partial-b", ".scenes-backup")
    )
    for folder in (left, in_use, other):
        (folder / "train").mkdir(parents=True)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        lock(in_use)
        os.write(writer, b"locked")
        signal.pause()
    assert os.read(reader, 6) == b"locked"
    write_scenes(tmp_path / "scenes", ScenesSpec(train=1, val=0, size=64))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, in_use.name, "scenes"]

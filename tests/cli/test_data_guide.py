"""The commands of docs/data.md, run in their order on files of the layout that it names."""

import argparse
import json
import re
import shlex
import shutil
from pathlib import Path

import annotation_files as write
import numpy as np
import pytest
import yaml

from d2_psformer.cli import check, convert_data
from d2_psformer.data.description import read_data_yaml

ROOT = Path(__file__).parents[2]
SCENE = (np.array([[0, 1, 1], [4, 4, 2]]), {1: "cat", 2: "dog", 4: "sky"})


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write.write_images(tmp_path, [SCENE])
    labelme = write.write_labelme(tmp_path, [SCENE])
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "images", tmp_path / "photos" / split)
        shutil.copy(labelme / "0.json", tmp_path / "photos" / split)
    write.write_cvat(tmp_path, [SCENE])
    write.write_coco(tmp_path, [SCENE])
    path = write.write_yolo(tmp_path, [SCENE])
    path.write_text(path.read_text().replace("train:", "val:"))
    ids = write.write_instance_ids(tmp_path, [SCENE])
    ids.rename("gtFine")
    Path("gtFine/0.png").rename("gtFine/0_gtFine_instanceIds.png")
    Path("leftImg8bit").mkdir()
    shutil.copy("images/0.jpg", "leftImg8bit/0_leftImg8bit.jpg")
    write.write_semantic(tmp_path, [SCENE]).rename("label_pngs")
    Path("training/v1.2").mkdir(parents=True)
    write.write_mapillary(tmp_path, [SCENE]).rename("training/v1.2/instances")
    shutil.copytree("images", "training/images")
    path = write.write_panoptic(tmp_path, [SCENE])
    content = json.loads(path.read_text())
    Path("results.json").write_text(json.dumps({"annotations": content["annotations"]}))
    shutil.copytree("panoptic", "results")


def commands(name: str) -> list[list[str]]:
    """The arguments of every ``psformer NAME`` of the guide."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words[2:] for words in map(shlex.split, lines) if words[1] == name]


def run(command, words: list[str]) -> tuple[argparse.Namespace, int | None]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args([*words, "--workers", "0"])
    return args, command.run(args)


def test_every_conversion_of_the_guide_works(files):
    given = commands("convert-data")
    assert {words[0] for words in given} == {*convert_data.FORMATS}
    for words in given:
        args, _ = run(convert_data, words)
        register = read_data_yaml(args.output)["DATASETS"]["REGISTER"]
        assert all(Path(path).exists() for entry in register for path in entry[1:2])
    assert [entry[0] for entry in read_data_yaml("pets")["DATASETS"]["REGISTER"]] == [
        "pets_train",
        "pets_val",
    ]


def test_every_check_of_the_guide_works(files, clean_catalogs, capsys):
    for words in commands("convert-data")[:2]:
        run(convert_data, words)
    Path("my_config.yaml").write_text(yaml.safe_dump(read_data_yaml("pets")))
    given = [words for words in commands("check") if words != ["coco_2017_val_panoptic"]]
    used = {word for words in given for word in words if word.startswith("--")}
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    assert used == {*parser._option_string_actions} - {"-h", "--help"}
    for words in given:
        _, status = run(check, [w for w in words if w not in ("--workers", "4")])
        out = capsys.readouterr().out
        assert status == ("1 error," in out), out
        assert "leakage" in out or "0 errors, 1 warning, 0 notes" in out, out
    assert Path("check.html").exists()
    assert Path("check.json").exists()

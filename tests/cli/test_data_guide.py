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

from d2_psformer.cli import convert_data
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
    path = write.write_panoptic(tmp_path, [SCENE])
    content = json.loads(path.read_text())
    Path("results.json").write_text(json.dumps({"annotations": content["annotations"]}))
    shutil.copytree("panoptic", "results")


def test_every_command_of_the_guide_works(files):
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line) for line in lines]
    commands = [words[2:] for words in commands if words[1] == "convert-data"]
    assert {words[0] for words in commands} == {*convert_data.FORMATS}
    parser = argparse.ArgumentParser()
    convert_data.add_arguments(parser)
    for words in commands:
        args = parser.parse_args([*words, "--workers", "0"])
        convert_data.run(args)
        register = read_data_yaml(args.output)["DATASETS"]["REGISTER"]
        assert all(Path(path).exists() for entry in register for path in entry[1:2])
    assert [entry[0] for entry in read_data_yaml("pets")["DATASETS"]["REGISTER"]] == [
        "pets_train",
        "pets_val",
    ]

import os

import numpy as np
import pytest
from PIL import Image

from d2_psformer.cli.main import main
from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.data import check_dataset, write_panoptic_png

IDS = np.array([[1, 1, 2, 2], [3, 3, 0, 2]])
SEGMENTS = [(1, 7), (2, 40), (3, 7, 1)]


@pytest.fixture
def faulty(tiny):
    """Five images, four of which are faulty, each in its own way."""
    for _ in range(5):
        tiny.add(IDS, SEGMENTS, extension=".jpg")
    write_panoptic_png(tiny.panoptic / "picture_2.png", IDS * 2)
    Image.new("RGB", (9, 9)).save(tiny.images / "picture_3.jpg")
    (tiny.images / "picture_4.jpg").write_bytes(b"nothing")
    tiny.content["annotations"][4]["segments_info"][1]["area"] = 7
    return tiny


def test_a_sound_data_set(tiny):
    tiny.add(IDS, SEGMENTS)
    tiny.add(IDS, SEGMENTS)
    report = check_dataset(tiny.register())
    assert report.faults == []
    assert report.images == 2
    assert report.classes.names == ("cat", "dog", "grass", "sky")
    assert report.counts.tolist() == [[0] * 4, [2, 4, 2, 8], [0] * 4, [2, 2, 0, 6]]
    assert report.void == 2
    lines = report.table().splitlines()
    assert len(lines) == 2 + 4 + 2
    assert lines[3].split() == ["dog", "|", "thing", "2", "4", "2", "2", "50.00%"]
    assert lines[-1].split()[-5:] == ["2", "6", "2", "2", "87.50%"]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_faulty_image_is_named(faulty, workers):
    report = check_dataset(faulty.register(), workers=workers)
    assert report.images == 5
    faults = {
        "picture_2.png": "segment",
        "picture_3.jpg": "9 x 9",
        "picture_4.jpg": "decoded",
        "picture_5.png": "area 7",
    }
    assert len(report.faults) == len(faults)
    for fault, (name, reason) in zip(report.faults, faults.items(), strict=True):
        assert name in fault
        assert reason in fault


def test_faults_that_no_loader_of_ours_lets_through(tiny):
    tiny.add(IDS, SEGMENTS)
    record = tiny.records()[0]
    alien = {**record["segments_info"][0], "category_id": 11}
    twice = {**record, "segments_info": record["segments_info"] * 2}
    DatasetCatalog.remove("tiny")
    DatasetCatalog.register(
        "tiny", lambda: [record, twice, {**record, "image_id": 2, "segments_info": [alien]}]
    )
    faults = check_dataset("tiny").faults
    assert "Image id 1 is there twice" in faults[0]
    assert "Segment id 1 of '" in faults[1]
    assert "contiguous class 11" in faults[2]


def test_command(faulty, capsys):
    faulty.write()
    files = ["--images", faulty.images, "--panoptic-json", faulty.json]
    files += ["--panoptic-folder", faulty.panoptic, "--workers", "0"]
    assert main(["check", "own", *map(str, files)]) == 1
    output = capsys.readouterr().out
    assert "5 images, 4 errors" in output
    assert "picture_4.jpg' cannot be decoded" in output
    assert main(["check", "own", "--workers", "0"]) == 1


def test_command_with_sound_data(tiny, capsys):
    tiny.add(IDS, SEGMENTS)
    assert main(["check", tiny.register(), "--workers", "0"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("1 image, 0 errors, 2 warnings, 1 note")


def test_command_ends_with_one_sentence(tiny):
    with pytest.raises(SystemExit, match="no_such_name"):
        main(["check", "no_such_name"])
    if not os.path.exists("datasets/coco"):
        with pytest.raises(SystemExit, match=r"panoptic_val2017\.json'"):
            main(["check", "coco_2017_val_panoptic"])
    with pytest.raises(SystemExit, match="--images goes with one name and --panoptic-json and"):
        main(["check", "own", "--images", "somewhere"])

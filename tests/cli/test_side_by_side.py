"""``psformer predict --side-by-side``: image, ground truth where there is one, and prediction."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_model import TOYS, write_tiny_model

from d2_psformer.cli.main import main
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.panoptic_png import write_panoptic_png

GREY, YELLOW = 120, (250, 250, 0)  # of images, and of the class "wall"
SIZE = (48, 64)
SIDE = 800  # of each picture, pixels


@pytest.fixture
def data(tmp_path) -> Path:
    """Two grey images, on which everything is annotated as a wall."""
    folder = tmp_path / "mine"
    (folder / "val").mkdir(parents=True)
    (folder / "panoptic").mkdir()
    content = {"images": [], "annotations": [], "categories": []}
    things = TOYS["thing_dataset_id_to_contiguous_id"]
    for category_id, index in TOYS["stuff_dataset_id_to_contiguous_id"].items():
        content["categories"].append(
            {
                "id": category_id,
                "name": TOYS["stuff_classes"][index],
                "isthing": int(category_id in things),
                "color": TOYS["stuff_colors"][index],
            }
        )
    for number, stem in enumerate("ab"):
        Image.fromarray(np.full((*SIZE, 3), GREY, np.uint8)).save(folder / "val" / f"{stem}.png")
        write_panoptic_png(folder / "panoptic" / f"{stem}.png", np.full(SIZE, 5))
        image = {"id": number, "file_name": f"{stem}.png", "height": SIZE[0], "width": SIZE[1]}
        segments = [{"id": 5, "category_id": 25, "iscrowd": 0, "area": SIZE[0] * SIZE[1]}]
        content["images"].append(image)
        content["annotations"].append(
            {"image_id": number, "file_name": f"{stem}.png", "segments_info": segments}
        )
    (folder / "panoptic.json").write_text(json.dumps(content))
    register = '[["toys_mine", "val", "panoptic.json", "panoptic"]]'
    (folder / "data.yaml").write_text(
        f'DATASETS: {{TRAIN: ["toys_mine"], TEST: ["toys_mine"], REGISTER: {register}}}'
    )
    yield folder
    for catalog in (DatasetCatalog, MetadataCatalog):
        for name in {"toys_mine", "toys_train"} & {*catalog.list()}:
            catalog.remove(name)


@pytest.fixture
def model(tmp_path) -> list:
    config, checkpoint = write_tiny_model(tmp_path)
    return ["--model", config, "--weights", checkpoint]


def run(*arguments) -> int:
    return main(["predict", *map(str, arguments)])


def panels(folder: Path, name: str) -> list[np.ndarray]:
    """The pictures of the row, without what is written below."""
    files = json.loads((folder / f"{name}_segments.json").read_text())
    with Image.open(folder / files["side_by_side"]) as picture:
        row = np.asarray(picture)
    count = round(row.shape[1] / SIDE)
    gap = (row.shape[1] - count * SIDE) // (count + 1)
    height = SIDE * SIZE[0] // SIZE[1]
    lefts = [gap + k * (SIDE + gap) for k in range(count)]
    return [row[gap : gap + height, left : left + SIDE] for left in lefts]


def test_images_of_a_data_set_with_their_truth(data, model, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(*model, "--side-by-side", "--data", data, "--output", out) == 0
    assert "2 of 2 files done" in capsys.readouterr().out
    for name in "ab":
        image, truth, _ = panels(out, name)
        np.testing.assert_allclose(image, GREY, atol=8)
        wall = np.median(truth.reshape(-1, 3), axis=0)
        np.testing.assert_allclose(wall, (np.array(YELLOW) + GREY) / 2, atol=4)


def test_other_images_have_no_truth(data, model, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.full((*SIZE, 3), GREY, np.uint8)).save(other)
    out, own = tmp_path / "out", data / "val" / "a.png"
    assert run(own, other, *model, "--side-by-side", "--data", data, "--output", out) == 0
    assert [len(panels(out, name)) for name in ("a", "other")] == [3, 2]
    assert not (out / "b_segments.json").exists()


def test_without_a_data_set(data, model, tmp_path):
    arguments = [data / "val", *model, "--output", tmp_path / "out"]
    assert run(*arguments) == 0
    assert not list((tmp_path / "out").glob("*side_by_side*"))
    assert run(*arguments, "--side-by-side") == 0
    assert len(panels(tmp_path / "out", "a")) == 2


def test_classes_that_are_not_the_models(data, model, tmp_path):
    text = (data / "panoptic.json").read_text().replace(": 25,", ": 26,").replace("wall", "roof")
    (data / "panoptic.json").write_text(text)
    with pytest.raises(SystemExit, match="roof"):
        run(*model, "--data", data, "--output", tmp_path / "out")


def test_a_data_set_that_is_not_there(model, tmp_path):
    with pytest.raises(SystemExit, match=r"data\.yaml"):
        run(*model, "--data", tmp_path, "--output", tmp_path / "out")

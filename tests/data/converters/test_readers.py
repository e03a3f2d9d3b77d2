"""What single formats have beyond segments: layers, groups, crowds, names of files, streaming."""

import json
from pathlib import Path

import annotation_files as write
import numpy as np
import pytest
import yaml
from PIL import Image

from d2_psformer.data.converters import READERS, Source, convert
from d2_psformer.data.description import read_data_yaml

CELLS = np.array([[0, 1, 1], [4, 4, 2]])
SCENE = (CELLS, {1: "cat", 2: "dog", 4: "sky"})


def areas(folder: Path) -> list[tuple[str, int, int]]:
    """Class, pixels and crowd of the segments of the first image."""
    content = json.loads((folder / "panoptic_train.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    segments = content["annotations"][0]["segments_info"]
    return sorted((names[s["category_id"]], s["area"], s["iscrowd"]) for s in segments)


def cvat(root: Path, shapes: str) -> Path:
    (root / "images").mkdir(exist_ok=True)
    Image.new("RGB", (20, 10)).save(root / "images" / "a.png")
    path = root / "annotations.xml"
    path.write_text(
        "<annotations><image name='a.png' width='20' height='10'><tag label='x'/>"
        f"{shapes}</image></annotations>"
    )
    return path


def test_cvat_layers_and_turned_boxes(tmp_path):
    box = "<box label='{}' xtl='{}' ytl='0' xbr='{}' ybr='10' z_order='{}' rotation='{}'/>"
    shapes = box.format("small", 5, 10, 0, 0) + box.format("large", 0, 20, 1, 0)
    convert("cvat", Source(cvat(tmp_path, shapes), tmp_path / "images"), tmp_path / "out")
    assert areas(tmp_path / "out") == [("large", 200, 0)]
    shapes = "<box label='b' xtl='8' ytl='0' xbr='12' ybr='10' rotation='90'/>"
    shapes += "<ellipse label='e' cx='2' cy='5' rx='2' ry='4'/>"
    convert("cvat", Source(cvat(tmp_path, shapes), tmp_path / "images"), tmp_path / "turned")
    (_, turned, _), (_, round_area, _) = areas(tmp_path / "turned")
    assert turned == 40
    assert round_area == pytest.approx(np.pi * 8, rel=0.15)
    ids = np.asarray(Image.open(tmp_path / "turned" / "panoptic_train" / "a.png"))[..., 0]
    rows, columns = np.nonzero(ids == ids[5, 10])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 5, 14)


def test_cvat_leaves_out_lines(tmp_path, caplog):
    shapes = (
        "<polyline label='a' points='1,1;2,2'/><box label='a' xtl='0' ytl='0' xbr='5' ybr='5'/>"
    )
    convert("cvat", Source(cvat(tmp_path, shapes), tmp_path / "images"), tmp_path / "out")
    assert areas(tmp_path / "out") == [("a", 25, 0)]
    assert "has no area" in caplog.text


def test_cvat_is_read_image_by_image(tmp_path):
    """The first image is there before the end of the file is looked at."""
    write.write_images(tmp_path, [SCENE] * 20)
    path = write.write_cvat(tmp_path, [SCENE] * 20)
    text = path.read_text()
    path.write_text(text[:-100] + " " * 2**20)
    reader = READERS["cvat"](Source(path, tmp_path / "images", classes=write.CLASSES))
    key, item = next(reader.items())
    assert key == "images/0.jpg"
    assert {s.class_name for s in reader.read(item).segments} == {"cat", "dog", "sky"}


def test_labelme_circles(tmp_path):
    folder = write.write_labelme(tmp_path, [SCENE])
    write.write_images(tmp_path, [(np.zeros((10, 10), int), {})])
    circle = {"label": "cat", "shape_type": "circle", "points": [[20, 20], [20, 30]]}
    content = {"imagePath": "0.jpg", "imageHeight": 40, "imageWidth": 40, "shapes": [circle]}
    (folder / "0.json").write_text(json.dumps(content))
    convert("labelme", Source(folder, tmp_path / "images"), tmp_path / "out")
    assert areas(tmp_path / "out")[0][1] == pytest.approx(np.pi * 100, rel=0.02)


def test_coco_crowds(tmp_path):
    write.write_images(tmp_path, [SCENE])
    path = write.write_coco(tmp_path, [SCENE], "uncompressed")
    content = json.loads(path.read_text())
    content["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    convert("coco-instances", Source(path, tmp_path / "images", stuff=["sky"]), tmp_path / "out")
    assert areas(tmp_path / "out") == [("cat", 32, 1), ("dog", 16, 0), ("sky", 32, 0)]


def test_cityscapes_names_numbers_and_crowds(tmp_path):
    values = np.array([[7, 7], [26, 26_001], [4, 0]], np.int32)
    for folder, suffix, pixels in (
        ("gtFine", "_gtFine_instanceIds.png", values.astype(np.uint16)),
        ("leftImg8bit", "_leftImg8bit.png", np.zeros((3, 2, 3), np.uint8)),
    ):
        (tmp_path / folder / "ulm").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "ulm" / f"ulm_1{suffix}")
    source = Source(
        tmp_path / "gtFine",
        tmp_path / "leftImg8bit",
        classes=["road=7", "car=26"],
        stuff=["road"],
        void=[4, 0],
        suffixes=("_gtFine_instanceIds.png", "_leftImg8bit.png"),
    )
    convert("instance-ids", source, tmp_path / "out")
    assert areas(tmp_path / "out") == [("car", 1, 0), ("car", 1, 1), ("road", 2, 0)]
    content = json.loads((tmp_path / "out" / "panoptic_train.json").read_text())
    image = {"id": "ulm/ulm_1_leftImg8bit", "file_name": "ulm/ulm_1_leftImg8bit.png"}
    assert content["images"] == [{**image, "height": 3, "width": 2}]


def test_mapillary_has_its_pngs_beside_the_json(tmp_path):
    write.write_images(tmp_path, [SCENE])
    path = write.write_panoptic(tmp_path, [SCENE])
    path = path.rename(tmp_path / "panoptic" / "panoptic_2018.json")
    convert("coco-panoptic", Source(path, tmp_path / "images"), tmp_path / "out")
    assert areas(tmp_path / "out") == [("cat", 32, 0), ("dog", 16, 0), ("sky", 32, 0)]


@pytest.mark.parametrize("given", ["../valid/images", "valid/images"])
def test_yolo_exports_with_a_folder_per_split(tmp_path, given):
    for folder in ("images", "labels"):
        (tmp_path / "valid" / folder).mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "valid" / "images" / "a.jpg")
    Image.new("RGB", (20, 10)).save(tmp_path / "valid" / "images" / "b.jpg")
    (tmp_path / "valid" / "labels" / "a.txt").write_text("0 0 0 0.5 0 0.5 1 0 1\n")
    (tmp_path / "data.yaml").write_text(f"names: [a]\nval: {given}\npath: /elsewhere\n")
    summary = convert("yolo", Source(tmp_path / "data.yaml", split="val"), tmp_path / "out")
    assert (summary.images, summary.things, summary.void) == (2, 1, 0.75)


@pytest.fixture
def yolo(tmp_path):
    """Images in two folders and the labels of each; the YAML has yet to name them."""
    write.write_images(tmp_path, [SCENE, SCENE])
    path = write.write_yolo(tmp_path, [SCENE, SCENE])
    for number, folder in enumerate(("a", "b")):
        for kind, suffix in (("images", "jpg"), ("labels", "txt")):
            target = tmp_path / "set" / folder / kind / f"{number}.{suffix}"
            target.parent.mkdir(parents=True)
            (tmp_path / kind / f"{number}.{suffix}").rename(target)
    return path


YOLO_LISTS = [
    (["set/a/images", "set/b/images"], ""),
    (["set/a/images", "list.txt"], "set/../"),  # an image twice is one
    ("list.txt", "./"),
    ("list.txt", "{root}/"),
    ("list.txt", ".\\"),
]


@pytest.mark.parametrize(("split", "base"), YOLO_LISTS)
def test_yolo_lists(yolo, tmp_path, split, base):
    content = {"path": "..", "train": split, "names": [*write.CLASSES]}
    yolo.write_text(yaml.safe_dump(content))
    lines = [f"{base.format(root=tmp_path)}set/{name}.jpg" for name in ("a/images/0", "b/images/1")]
    if "\\" in base:
        lines = [line.replace("/", "\\") for line in lines]
    text = "\ufeff" + "\r\n".join([*lines, "", ""])
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    summary = convert("yolo", Source(yolo, stuff=["sky"]), tmp_path / "out")
    assert (summary.images, summary.things, summary.stuff) == (2, 6, 2)
    content = json.loads((tmp_path / "out" / "panoptic_train.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["a/images/0.jpg", "b/images/1.jpg"]
    entry = read_data_yaml(tmp_path / "out")["DATASETS"]["REGISTER"][0]
    assert Path(entry[1]) == tmp_path / "set"


def test_yolo_lists_are_relative_to_their_own_folder_first(yolo, tmp_path):
    """As COCO's train2017.txt for YOLO is."""
    yolo.write_text("{train: ../set/lists/train.txt, names: [cat, dog, sky]}")
    (tmp_path / "set" / "lists").mkdir()
    (tmp_path / "set" / "lists" / "train.txt").write_text("../a/images/0.jpg")
    assert convert("yolo", Source(yolo), tmp_path / "out").images == 1


def test_yolo_labels_may_lie_beside_the_images(tmp_path):
    write.write_images(tmp_path, [SCENE])
    path = write.write_yolo(tmp_path, [SCENE])
    (tmp_path / "images").rename(tmp_path / "photos")
    (tmp_path / "labels" / "0.txt").rename(tmp_path / "photos" / "0.txt")
    path.write_text("{path: .., train: photos, names: {'0': cat, '1': dog, '2': sky}}")
    assert convert("yolo", Source(path), tmp_path / "out").things == 5


def test_capital_suffixes(tmp_path):
    write.write_images(tmp_path, [SCENE])
    (tmp_path / "images" / "0.jpg").rename(tmp_path / "images" / "0.JPG")
    labelme, labels = (
        make(tmp_path, [SCENE]) for make in (write.write_labelme, write.write_semantic)
    )
    (labelme / "0.json").rename(labelme / "0.JSON")
    (labels / "0.png").rename(labels / "0.PNG")
    images = tmp_path / "images"
    assert convert("labelme", Source(labelme, images), tmp_path / "a").images == 1
    source = Source(labels, images, classes=write.CLASSES)
    assert convert("semantic", source, tmp_path / "b").images == 1


def test_json_of_windows_editors(tmp_path):
    """They put a byte-order mark in front."""
    write.write_images(tmp_path, [SCENE])
    path = write.write_coco(tmp_path, [SCENE])
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert convert("coco-instances", Source(path, tmp_path / "images"), tmp_path / "a").images == 1


def test_names_in_any_script(tmp_path):
    write.write_images(tmp_path, [SCENE])
    path = write.write_coco(tmp_path, [SCENE])
    content = json.loads(path.read_text())
    names = ["кошка", "犬", "سماء"]
    for category, name in zip(content["categories"], names, strict=True):
        category["name"] = name
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    source = Source(path, tmp_path / "images", stuff=["سماء"])
    convert("coco-instances", source, tmp_path / "данные", to="semantic")
    entry = read_data_yaml(tmp_path / "данные")["DATASETS"]["REGISTER"][0]
    assert (entry[0], entry[3]) == ("данные_train", names)


def test_mapillarys_panoptic_json_has_its_pngs_beside_it(tmp_path):
    write.write_images(tmp_path, [SCENE])
    path = write.write_panoptic(tmp_path, [SCENE])  # its ids have 24 bits
    beside = tmp_path / "training" / "v2.0" / "panoptic" / "panoptic_2020.json"
    beside.parent.mkdir(parents=True)
    (tmp_path / "panoptic" / "0.png").rename(beside.with_name("0.png"))
    path.rename(beside)
    convert("coco-panoptic", Source(beside, tmp_path / "images"), tmp_path / "out")
    assert areas(tmp_path / "out") == [("cat", 32, 0), ("dog", 16, 0), ("sky", 32, 0)]


def test_mapillarys_ids_and_colours_are_kept(tmp_path):
    write.write_images(tmp_path, [SCENE])
    labels = write.write_mapillary(tmp_path, [SCENE])
    config = tmp_path / "config_v1.2.json"
    source = Source(labels, tmp_path / "images", categories=config, void=[0, 3])
    convert("mapillary", source, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "panoptic_train.json").read_text())
    assert content["categories"][0] == {"id": 2, "name": "cat", "isthing": 1, "color": [10, 20, 30]}
    assert [c["name"] for c in content["categories"]] == ["cat", "dog", "unlabeled"]
    assert areas(tmp_path / "out") == [("cat", 32, 0), ("dog", 16, 0), ("unlabeled", 16, 0)]

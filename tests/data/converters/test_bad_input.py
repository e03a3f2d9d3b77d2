"""What is wrong with a source is one sentence that names the file and the place."""

import json
import re
from pathlib import Path

import annotation_files as write
import numpy as np
import pytest
from PIL import Image

from d2_psformer.data.converters import Source, convert
from d2_psformer.utils.errors import UserError

CELLS = np.array([[0, 1, 1], [4, 4, 2]])
SCENE = (CELLS, {1: "cat", 2: "dog", 4: "sky"})


def refuse(tmp_path: Path, kind: str, path: Path, sentence: str, **options) -> None:
    source = Source(path, **{"images": tmp_path / "images", **options})
    with pytest.raises(UserError, match=sentence) as raised:
        convert(kind, source, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "data.yaml").exists()


@pytest.fixture(autouse=True)
def _images(tmp_path):
    write.write_images(tmp_path, [SCENE])


def change(path: Path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


LABELME = [
    (lambda c: c["shapes"][0].update(points=[[1, 1]]), r"shapes\[0\] of '.*0\.json' is a polygon"),
    (lambda c: c["shapes"][0].update(points=[[1, float("nan")]] * 3), "no pairs of finite"),
    (lambda c: c["shapes"][0].update(group_id=[1]), r"'group_id' of shapes\[0\] of '.*0\.json'"),
    (lambda c: c["shapes"][0].update(label=3), r"shapes\[0\] of '.*' has no 'label'"),
    (lambda c: c["shapes"][0].update(label="cow"), "class 'cow', which is none of the classes cat"),
    (lambda c: c["shapes"][0].update(shape_type="star"), "is of the kind 'star': draw a polygon"),
    (lambda c: c["shapes"][0].update(shape_type="circle"), "is a circle without two points"),
    (lambda c: c["shapes"][0].update(shape_type="mask"), "has no mask as base64"),
    (lambda c: c["shapes"][0].update(shape_type="mask", mask="aGk="), "The mask of .* decoded"),
    (lambda c: c.update(shapes=None), "has no list 'shapes'"),
    (lambda c: c.update(imageHeight=9), r"says that image '.*0\.jpg' is 12 x 9 pixels, but .* x 8"),
    (lambda c: c.update(imagePath="../../../etc/passwd"), "Image '.*' of '.*' is not in"),
    (lambda c: c.pop("imagePath"), "has no sound 'imagePath'"),
]


@pytest.mark.parametrize(("edit", "sentence"), LABELME)
def test_labelme(tmp_path, edit, sentence):
    folder = write.write_labelme(tmp_path, [SCENE])
    change(folder / "0.json", edit)
    refuse(tmp_path, "labelme", folder, sentence, classes=write.CLASSES)


def test_labelme_without_files(tmp_path):
    refuse(tmp_path, "labelme", tmp_path / "images", r"has no \*\.json")
    refuse(tmp_path, "labelme", tmp_path / "none", "'.*none' does not exist")
    (tmp_path / "a.json").touch()
    refuse(tmp_path, "labelme", tmp_path / "a.json", "is a file, but .* labelme is a folder")
    refuse(tmp_path, "cvat", tmp_path / "images", "is a folder, but .* cvat is a file")


def test_labelme_leaves_out_lines(tmp_path, caplog):
    folder = write.write_labelme(tmp_path, [SCENE])
    change(folder / "0.json", lambda c: c["shapes"][0].update(shape_type="linestrip"))
    convert("labelme", Source(folder, tmp_path / "images"), tmp_path / "out")
    assert "shapes[0] of" in caplog.text


CVAT = [
    ("</image>", "", "is not valid XML"),
    ('points="4,0', 'points="x,0', r"Shape 1 \(polygon\) of image 'images/0\.jpg' of '.*xml' has"),
    ('label="cat"', 'label="cow"', "has class 'cow', which is none of"),
    ('z_order="0"', 'z_order="top"', "has the 'z_order' 'top'"),
    ('height="8"', 'height="9"', "is 12 x 9 pixels, but upright it is 12 x 8"),
    ('name="images/0.jpg"', 'name="../x/1.jpg"', r"Image '\.\./x/1\.jpg' of '.*' is not in"),
    ("<annotations>", "<!DOCTYPE a><annotations>", "has a document type or entities"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), CVAT)
def test_cvat(tmp_path, old, new, sentence):
    path = write.write_cvat(tmp_path, [SCENE])
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    refuse(tmp_path, "cvat", path, sentence)


def test_cvat_masks_fill_their_box(tmp_path):
    path = write.write_cvat(tmp_path, [SCENE], "mask")
    path.write_text(re.sub('rle="[0-9]+', 'rle="99999999999', path.read_text()))
    refuse(tmp_path, "cvat", path, "has an 'rle' that does not fill a box in the image")


def test_cvat_without_labels(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<annotations/>")
    refuse(tmp_path, "cvat", path, "names no labels")


YOLO = [
    ("0 0.5 0.5 0.1 0.1", r"Line 1 of '.*0\.txt' is a box"),
    ("0 0.5 0.5", "is a polygon of 1 point"),
    ("7 0 0 1 0 1 1", "has class 7, which 'names' does not list"),
    ("0 0 0 nan 0 1 1", r"coordinates outside of 0\.\.\.1"),
    ("0 0 0 12 0 12 8", r"coordinates outside of 0\.\.\.1"),
    ("0 0 0 1 0 1 1 0.5", "has 7 coordinates"),
    ("cat 0 0 1 0 1 1", "holds no numbers"),
]


@pytest.mark.parametrize(("line", "sentence"), YOLO)
def test_yolo(tmp_path, line, sentence):
    path = write.write_yolo(tmp_path, [SCENE])
    (tmp_path / "labels" / "0.txt").write_text(line)
    refuse(tmp_path, "yolo", path, sentence, images=None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: [", "is no safe YAML"),
        ("[a]", r"is no safe YAML of .*: it is \['a'\]\."),
        ("train: images", "has no 'names'"),
        ("{names: {a: b}, train: images}", "'names' of '.*' has the number 'a'"),
        ("names: [a]", "'train' of '.*' is None: write folders of images, or text files"),
        ("{names: [a], train: {a: b}}", "'train' of '.*' is {'a': 'b'}: write folders of"),
        ("{names: [a], train: nowhere}", "'nowhere', the 'train' of '.*', is not there"),
        ("{names: [a], train: [../images, nowhere]}", "'nowhere', the 'train' of '.*', is not"),
        ("{names: [a], train: ../images/0.jpg}", "'../images/0.jpg', .* is neither a folder"),
        ("{names: [a], train: list.txt}", "'missing.jpg' of '.*list.txt' is not there"),
        ("{names: [a], train: folders.txt}", "'../images' of '.*folders.txt' is no image"),
        ("{names: [a], train: empty.txt}", "'train' of '.*' has no images"),
        ("{names: [a], train: binary.txt}", "binary.txt' is no text"),
    ],
)
def test_yolo_descriptions(tmp_path, text, sentence):
    path = write.write_yolo(tmp_path, [SCENE])
    path.write_text(text)
    path.with_name("list.txt").write_text("../images/0.jpg\nmissing.jpg")
    path.with_name("folders.txt").write_text("../images")
    path.with_name("empty.txt").touch()
    path.with_name("binary.txt").write_bytes(b"\xff\xd8\x00")
    refuse(tmp_path, "yolo", path, sentence, images=None)


COCO = [
    (lambda a: a.update(category_id=99), "has category_id 99"),
    (lambda a: a.update(segmentation=[[float("nan"), 0, 1, 0, 1, 1]]), "than finite numbers"),
    (lambda a: a.update(segmentation={"size": [8, 12], "counts": "\x01"}), "cannot be decoded"),
    (lambda a: a.update(segmentation={"size": [9, 12], "counts": "1"}), r"mask of size \[9, 12\]"),
]


@pytest.mark.parametrize(("edit", "sentence"), COCO)
def test_coco_instances(tmp_path, edit, sentence):
    path = write.write_coco(tmp_path, [SCENE])
    change(path, lambda content: edit(content["annotations"][0]))
    refuse(tmp_path, "coco-instances", path, sentence)


def test_coco_instances_of_other_images(tmp_path):
    path = write.write_coco(tmp_path, [SCENE])
    change(path, lambda content: content["images"][0].update(height=9))
    refuse(tmp_path, "coco-instances", path, "is 12 x 9 pixels, but upright it is 12 x 8")
    (tmp_path / "images" / "0.jpg").unlink()
    refuse(tmp_path, "coco-instances", path, r"Image '0\.jpg' of '.*' is not in")
    refuse(tmp_path, "coco-instances", path, "add --images DIR", images=None)
    refuse(tmp_path, "coco-instances", path, "no use for --classes", classes=["cat"])
    path.write_text("{")
    refuse(tmp_path, "coco-instances", path, r"instances\.json' is not valid JSON")


def test_label_pngs(tmp_path):
    labels = write.write_semantic(tmp_path, [SCENE])
    classes = {"classes": ["cat", "dog"]}
    refuse(tmp_path, "semantic", labels, "has the class 2: add NAME=2 to --classes", **classes)
    refuse(tmp_path, "semantic", labels, "list --classes")
    refuse(tmp_path, "semantic", labels, "no number behind '='", classes=["cat=x"])
    refuse(tmp_path, "semantic", labels, "is given twice", classes=["cat", "cat"])
    refuse(tmp_path, "semantic", labels, "leave --stuff out", stuff=["cat"], **classes)
    refuse(tmp_path, "instance-ids", labels, "name them with --stuff", **classes)
    refuse(tmp_path, "instance-ids", labels, "'cow' is unknown", stuff=["cow"], **classes)
    Image.new("L", (3, 3)).save(labels / "0.png")
    refuse(tmp_path, "semantic", labels, r"is 3 x 3 pixels, but image '.*' is 12 x 8", **classes)
    Image.new("RGB", (12, 8)).save(labels / "0.png")
    refuse(tmp_path, "semantic", labels, "has mode RGB", **classes)
    (labels / "0.png").write_bytes(b"\x89PNG")
    refuse(tmp_path, "semantic", labels, r"0\.png' cannot be decoded", **classes)


def test_label_pngs_among_the_images(tmp_path):
    labels = write.write_semantic(tmp_path, [SCENE])
    sentence = "is the folder of both images and PNGs"
    refuse(tmp_path, "semantic", labels, sentence, images=labels, classes=write.CLASSES)


def test_options_that_a_format_does_not_read(tmp_path):
    path = write.write_coco(tmp_path, [SCENE])
    file = {"categories": path}
    refuse(tmp_path, "coco-instances", path, "coco-instances has no use for --categories", **file)
    suffixes = {"suffixes": (".png", ".jpg")}
    refuse(tmp_path, "coco-instances", path, "no use for --label-suffix and --image", **suffixes)
    refuse(tmp_path, "coco-instances", path, "no use for --void", void=[0])
    path = write.write_yolo(tmp_path, [SCENE])
    refuse(tmp_path, "yolo", path, "yolo has no use for --classes", classes=["cat"])


def test_files_of_the_other_kind_of_coco(tmp_path):
    instances, panoptic = (
        write.write_coco(tmp_path, [SCENE]),
        write.write_panoptic(tmp_path, [SCENE]),
    )
    refuse(tmp_path, "coco-instances", panoptic, "is in COCO's panoptic format")
    refuse(tmp_path, "coco-panoptic", instances, "is in COCO's instance format")
    refuse(tmp_path, "coco-instances", instances, "json' is no folder", images=instances)
    both = {"images": tmp_path / "panoptic"}
    refuse(tmp_path, "coco-panoptic", panoptic, r"0\.png' is both image and annotation", **both)


@pytest.mark.parametrize("split", ["", "a/b", "../val", "a\\b", "a:b"])
def test_splits_name_files(tmp_path, split):
    path = write.write_coco(tmp_path, [SCENE])
    refuse(tmp_path, "coco-instances", path, "files get their names from it", split=split)


def test_the_result_is_a_folder(tmp_path):
    path = write.write_coco(tmp_path, [SCENE])
    with pytest.raises(UserError, match=r"instances\.json' is a file: name a folder"):
        convert("coco-instances", Source(path, tmp_path / "images"), path)


def test_the_yaml_of_another_program_stays(tmp_path):
    path = write.write_yolo(tmp_path, [SCENE])
    before = path.read_text()
    with pytest.raises(UserError, match=r"yolo' has the data\.yaml of another program"):
        convert("yolo", Source(path), path.parent)
    assert path.read_text() == before
    assert [*path.parent.iterdir()] == [path]


def test_no_class_at_all(tmp_path):
    folder = write.write_labelme(tmp_path, [SCENE])
    change(folder / "0.json", lambda content: content.update(shapes=[]))
    refuse(tmp_path, "labelme", folder, "names no class: list them with --classes")
    refuse(tmp_path, "labelme", folder, "has an empty name", classes=["cat", " "])


def test_an_image_that_is_annotated_twice(tmp_path):
    folder = write.write_labelme(tmp_path, [SCENE])
    (folder / "again.json").write_text((folder / "0.json").read_text())
    refuse(tmp_path, "labelme", folder, r"Image '0\.jpg' is annotated twice in '.*labelme'")


def test_yolo_without_labels(tmp_path):
    path = write.write_yolo(tmp_path, [SCENE])
    (tmp_path / "labels" / "0.txt").rename(tmp_path / "labels" / "1.txt")
    sentence = r"None of the images of 'train' has a text, the first is '.*labels/0\.txt'"
    refuse(tmp_path, "yolo", path, sentence, images=None)


def test_mapillary(tmp_path):
    labels = write.write_mapillary(tmp_path, [SCENE])
    config = tmp_path / "config_v1.2.json"
    refuse(tmp_path, "mapillary", labels, r"give Mapillary's config, such as config_v1\.2\.json")
    of_config = {"categories": config}
    refuse(tmp_path, "mapillary", labels, "no use for --classes", classes=["a"], **of_config)
    change(config, lambda content: content["labels"].pop())
    sentence = r"0\.png' has the class 4: give the config of this version"
    refuse(tmp_path, "mapillary", labels, sentence, **of_config)
    for mode in ("L", "RGB"):
        Image.new(mode, (12, 8)).save(labels / "0.png")
        sentence = f"has mode {mode}, not 16 bits: name Mapillary's folder 'instances'"
        refuse(tmp_path, "mapillary", labels, sentence, **of_config)
    change(config, lambda content: content["labels"][1].update(instances="yes"))
    refuse(tmp_path, "mapillary", labels, r"'instances' of labels\[1\] of '.*json'", **of_config)
    config.write_text("[]")
    refuse(tmp_path, "mapillary", labels, r"config_v1\.2\.json' has no 'labels'", **of_config)


def test_two_images_of_one_stem(tmp_path):
    Image.new("RGB", (12, 8)).save(tmp_path / "images" / "0.png")
    path = write.write_yolo(tmp_path, [SCENE])
    refuse(tmp_path, "yolo", path, "would both be written to one PNG", images=None)


def test_damaged_images(tmp_path):
    path = write.write_yolo(tmp_path, [SCENE])
    (tmp_path / "images" / "0.jpg").write_bytes(b"no image")
    refuse(tmp_path, "yolo", path, r"Image '.*0\.jpg' cannot be decoded", images=None)


def test_instances_and_semantic_pngs_need_classes(tmp_path):
    labels = write.write_semantic(tmp_path, [SCENE])
    source = Source(labels, tmp_path / "images", classes=write.CLASSES)
    with pytest.raises(UserError, match="no instances to write"):
        convert("semantic", source, tmp_path / "out", to="instances")
    path = write.write_labelme(tmp_path, [(CELLS, {1: "cat"})])
    source = Source(path, tmp_path / "images")
    with pytest.raises(UserError, match="the background needs another"):
        convert("labelme", source, tmp_path / "out", to="semantic")

"""Every format and back: the segments, their pixels and classes are those that were written."""

import json
import tempfile
from functools import partial
from pathlib import Path

import annotation_files as write
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools.coco import COCO

from d2_psformer.data.converters import Source, convert

FORMATS = {
    "coco-instances polygon": write.write_coco,
    "coco-instances compressed": partial(write.write_coco, kind="compressed"),
    "coco-instances uncompressed": partial(write.write_coco, kind="uncompressed"),
    "coco-panoptic": write.write_panoptic,
    "cvat polygon": write.write_cvat,
    "cvat box": partial(write.write_cvat, kind="box"),
    "cvat mask": partial(write.write_cvat, kind="mask"),
    "instance-ids": write.write_instance_ids,
    "labelme polygon": write.write_labelme,
    "labelme rectangle": partial(write.write_labelme, kind="rectangle"),
    "labelme mask": partial(write.write_labelme, kind="mask"),
    "mapillary": write.write_mapillary,
    "semantic": write.write_semantic,
    "yolo": write.write_yolo,
}
OPTIONS = {
    "instance-ids": {"classes": ["cat=7", "dog", "sky"], "stuff": write.STUFF},
    "semantic": {"classes": write.CLASSES},
    "coco-panoptic": {},
    "mapillary": {},
}


@st.composite
def scenes(draw):
    """One or two images of objects of several parts, where each stuff class is one segment."""
    drawn = []
    for _ in range(draw(st.integers(1, 2))):
        shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        cells = draw(arrays(int, shape, elements=st.integers(0, 4)))
        things = {k: draw(st.sampled_from(write.CLASSES[:2])) for k in (1, 2, 3)}
        classes = {k: name for k, name in {**things, 4: "sky"}.items() if k in cells}
        drawn.append((cells, classes))
    return drawn


def split_cells(scene: write.Scene) -> write.Scene:
    """Each cell of a thing is an object of its own."""
    cells, classes = scene
    new = np.where(cells > 0, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    new[cells == 4] = 100
    return new, {int(k): classes[int(cells[new == k][0])] for k in np.unique(new[new > 0])}


def as_stuff(scene: write.Scene) -> write.Scene:
    """All pixels of a class are one segment."""
    cells, classes = scene
    numbers = {name: 1 + write.CLASSES.index(name) for name in classes.values()}
    new = sum((numbers[name] * (cells == k) for k, name in classes.items()), 0 * cells)
    return new, {number: name for name, number in numbers.items()}


def written(folder: Path) -> list[set]:
    """(class, pixels) of every segment of every image, read without the package."""
    content = json.loads((folder / "panoptic_train.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    images = []
    for annotation in content["annotations"]:
        rgb = np.asarray(Image.open(folder / "panoptic_train" / annotation["file_name"]), int)
        ids = rgb @ [1, 256, 65536]
        segments = annotation["segments_info"]
        assert {s["id"] for s in segments} == {*np.unique(ids).tolist()} - {0}
        assert all(s["area"] == (ids == s["id"]).sum() for s in segments)
        images.append({(names[s["category_id"]], (ids == s["id"]).tobytes()) for s in segments})
    return images


def expected(every: list[write.Scene]) -> list[set]:
    return [
        {(name, (write.pixels(cells) == k).tobytes()) for k, name in classes.items()}
        for cells, classes in every
    ]


@pytest.mark.parametrize("case", FORMATS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(drawn=scenes())
def test_formats_keep_the_segments(case, drawn):
    kind = case.split()[0]
    options = OPTIONS.get(kind, {"stuff": write.STUFF})
    drawn = [split_cells(s) if kind == "yolo" else s for s in drawn]
    drawn = [as_stuff(s) if kind == "semantic" else s for s in drawn]
    if not any(classes for _, classes in drawn):
        return  # nothing names a class
    names = {name for _, classes in drawn for name in classes.values()}
    if kind == "labelme":
        options = {**options, "classes": write.CLASSES} if "sky" not in names else options
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write.write_images(root, drawn)
        path = FORMATS[case](root, drawn)
        if kind == "mapillary":
            options = {"categories": root / "config_v1.2.json"}
        summary = convert(kind, Source(path, root / "images", **options), root / "out")
        assert written(root / "out") == expected(drawn)
        assert summary.images == len(drawn)
        void = sum((cells == 0).sum() for cells, _ in drawn)
        assert summary.void == pytest.approx(void / sum(cells.size for cells, _ in drawn))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(drawn=scenes())
def test_panoptic_to_instances_and_semantic_and_back(drawn):
    if not any(k < 4 for _, classes in drawn for k in classes):
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write.write_images(root, drawn)
        source = Source(write.write_panoptic(root, drawn), root / "images")
        convert("coco-panoptic", source, root / "i", to="instances")
        convert("coco-panoptic", source, root / "s", to="semantic")
        convert("coco-instances", Source(root / "i/instances_train.json", root / "images"), root)
        things = [(np.where(c < 4, c, 0), {k: v for k, v in n.items() if k < 4}) for c, n in drawn]
        assert written(root) == expected(things)
        labels = root / "s" / "semantic_train"
        assert all(np.asarray(Image.open(p)).dtype == np.uint8 for p in labels.iterdir())
        again = Source(labels, root / "images", classes=write.CLASSES)
        convert("semantic", again, root / "t")
        assert written(root / "t") == expected([as_stuff(scene) for scene in drawn])


@settings(max_examples=8, deadline=None, derandomize=True)
@given(polygon=st.lists(st.floats(-2, 22), min_size=6, max_size=12), rest=st.data())
def test_polygons_are_rasterised_as_pycocotools_does(polygon, rest):
    polygon = polygon[: len(polygon) // 2 * 2]
    cells, classes = np.ones((4, 5), int), {1: "cat"}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write.write_images(root, [(cells, classes)])
        path = write.write_coco(root, [(cells, classes)])
        content = json.loads(path.read_text())
        content["annotations"][0]["segmentation"] = [polygon]
        path.write_text(json.dumps(content))
        convert("coco-instances", Source(path, root / "images"), root / "out")
        coco = COCO(path)
        mask = coco.annToMask(coco.anns[1]).astype(bool)
        assert written(root / "out") == [{("cat", mask.tobytes())} if mask.any() else set()]


def test_real_data_through_four_formats(real_data, tmp_path):
    """Golden: segments of COCO's own panoptic annotation, in each format that can hold them."""
    original = json.loads((real_data / "panoptic.json").read_text())
    names = {category["id"]: category["name"] for category in original["categories"]}
    things = {category["name"] for category in original["categories"] if category["isthing"]}
    images = real_data / "images"
    source = Source(real_data / "panoptic.json", images)
    convert("coco-panoptic", source, tmp_path / "same")
    truth = []
    for annotation in original["annotations"]:
        rgb = np.asarray(Image.open(real_data / "panoptic" / annotation["file_name"]), int)
        ids = rgb @ [1, 256, 65536]
        truth.append(
            {
                (names[s["category_id"]], (ids == s["id"]).tobytes())
                for s in annotation["segments_info"]
            }
        )
    assert written(tmp_path / "same") == truth
    convert("coco-panoptic", source, tmp_path / "i", to="instances")
    convert("coco-instances", Source(tmp_path / "i/instances_train.json", images), tmp_path / "b")
    assert written(tmp_path / "b") == [{s for s in image if s[0] in things} for image in truth]
    convert("coco-panoptic", source, tmp_path / "s", to="semantic")
    labels = Source(tmp_path / "s/semantic_train", images, classes=[*names.values()])
    convert("semantic", labels, tmp_path / "c")
    by_name = {
        annotation["image_id"]: image
        for annotation, image in zip(
            json.loads((tmp_path / "c/panoptic_train.json").read_text())["annotations"],
            written(tmp_path / "c"),
            strict=True,
        )
    }
    for annotation, segments in zip(original["annotations"], truth, strict=True):
        merged: dict[str, np.ndarray] = {}
        for name, pixels in segments:
            mask = np.frombuffer(pixels, bool)
            merged[name] = merged.get(name, False) | mask
        stem = Path(annotation["file_name"]).stem
        assert by_name[stem] == {(name, mask.tobytes()) for name, mask in merged.items()}

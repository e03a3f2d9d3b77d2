"""The strict reading of the COCO-panoptic format: what it lets through, and what it says else."""

import copy
import json
import math

import numpy as np
import pytest

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import check_dataset
from d2_psformer.data.panoptic_json import (
    check_categories,
    is_area,
    is_flag,
    is_integer,
    read_panoptic_json,
)
from d2_psformer.utils.errors import UserError

CONTENT = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 3, "licence": None}],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "1.png",
            "segments_info": [
                {"id": 5, "category_id": 7, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]},
                {"id": 6, "category_id": "sky"},
            ],
        }
    ],
    "info": [],
}
CATEGORIES = [{"id": 7, "name": "cat", "isthing": 1}, {"id": "sky", "name": "sky", "isthing": 0}]
SEGMENT = ("annotations", 0, "segments_info", 0)


def changed(content, place, value):
    """A copy of ``content`` with another value at a place, a tuple of keys and indices."""
    content = copy.deepcopy(content)
    *way, last = place
    inner = content
    for step in way:
        inner = inner[step]
    inner[last] = value
    return content


@pytest.fixture
def read(tmp_path):
    """A function: content -> what the strict reading makes of its JSON."""

    def write_and_read(content):
        path = tmp_path / "p.json"
        path.write_text(json.dumps(content))
        return read_panoptic_json(path)

    return write_and_read


def test_a_sound_json_is_returned_as_it_is(read):
    assert read(CONTENT) == CONTENT


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*SEGMENT, "iscrowd"), True),
        ((*SEGMENT, "area"), 4.0),
        ((*SEGMENT, "area"), 6),
        (("images",), []),
        (("images", 0), {"id": 1}),
        (("images", 0), {"id": "1"}),
        (("categories",), None),
    ],
)
def test_what_means_one_thing_is_read(read, place, value):
    content = changed(CONTENT, place, value)
    assert read(content) == content


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("images",), None, "'images' of '.*p.json' is None: write a list of objects"),
        (("images", 0), 3, r"images\[0\] of '.*p.json' is 3: write an object"),
        (("images", 0, "id"), True, r"'id' of images\[0\] of '.*' is True: write an integer or"),
        (("images", 0, "width"), "3", r"'width' of images\[0\] of '.*' is '3': write the image's"),
        (("annotations",), {}, r"'annotations' of '.*p.json' is \{\}: write a list"),
        (("annotations", 0), {}, r"annotations\[0\] of '.*p.json' lacks 'image_id': add the id"),
        (("annotations", 0, "image_id"), 1.0, r"'image_id' of annotations\[0\] .* is 1.0"),
        (("annotations", 0, "file_name"), "", r"'file_name' of annotations\[0\] .* is ''"),
        (("annotations", 0, "segments_info"), None, r"'segments_info' of annotations\[0\]"),
        (SEGMENT, None, r"segments_info\[0\] of '1.png' in '.*p.json' is None: write an object"),
        ((*SEGMENT, "id"), 5.0, r"'id' of segments_info\[0\] of '1.png' in '.*' is 5.0"),
        ((*SEGMENT, "id"), 6, "Segment id 6 of '1.png' in '.*p.json' is listed twice"),
        ((*SEGMENT, "category_id"), [7], r"'category_id' of segments_info\[0\] .* is \[7\]"),
        ((*SEGMENT, "iscrowd"), "0", r"'iscrowd' of segments_info\[0\] .* is '0': write 1 for"),
        ((*SEGMENT, "iscrowd"), 2, r"'iscrowd' of segments_info\[0\] .* is 2"),
        ((*SEGMENT, "area"), math.nan, r"'area' of segments_info\[0\] .* is nan: write the"),
        ((*SEGMENT, "area"), 7, r"'area' of segments_info\[0\] .* is 7, but the image has 6"),
    ],
)
def test_what_could_mean_something_else_is_refused(read, place, value, sentence):
    with pytest.raises(UserError, match=sentence):
        read(changed(CONTENT, place, value))


def test_a_json_of_another_kind(read):
    with pytest.raises(UserError, match=r"p.json' holds \[1, 2\]: give a JSON object"):
        read([1, 2])


def test_images_alone_need_a_file_name(read):
    with pytest.raises(UserError, match=r"images\[0\] of '.*p.json' lacks 'file_name': add"):
        read({"images": [{"id": 1}]})


def test_an_annotation_without_its_image(read):
    message = (
        r"annotations\[0\] \('1.png'\) of '.*p.json' has image_id 9, which no entry of 'images'"
    )
    with pytest.raises(UserError, match=message):
        read(changed(CONTENT, ("annotations", 0, "image_id"), 9))


@pytest.mark.parametrize(("key", "id_key"), [("images", "id"), ("annotations", "image_id")])
def test_image_ids_that_differ_in_type_alone(read, key, id_key):
    content = changed(CONTENT, (key,), CONTENT[key] + [{**CONTENT[key][0], id_key: "1"}])
    with pytest.raises(UserError, match=f"'{key}' of '.*' has the image ids 1 and '1': write all"):
        read(content)


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ((0, "isthing"), "0", r"'isthing' of categories\[0\] of here is '0': write 1 for"),
        ((0, "isthing"), 2, r"'isthing' of categories\[0\] of here is 2"),
        ((0, "isthing"), 1.0, r"'isthing' of categories\[0\] of here is 1.0"),
        ((0, "name"), None, r"'name' of categories\[0\] of here is None: write a text"),
        ((1, "id"), 7, "Category id 7 is there twice in here"),
        ((1, "id"), [], r"'id' of categories\[1\] of here is \[\]: write an integer or a text"),
        ((1,), "sky", r"categories\[1\] of here is 'sky': write an object"),
        ((0, "color"), "red", r"'color' of categories\[0\] of here is 'red': write \[R, G, B\]"),
        ((0, "color"), [0, 0, 256], r"'color' of categories\[0\] of here is \[0, 0, 256\]"),
    ],
)
def test_categories(place, value, sentence):
    check_categories(CATEGORIES, "here")
    with pytest.raises(UserError, match=sentence):
        check_categories(changed(CATEGORIES, place, value), "here")


def test_values_of_numpy():
    assert is_flag(np.int64(1)) and is_flag(np.bool_(0)) and not is_flag(np.float64(1))
    assert is_area(np.int32(4)) and is_area(np.float32(4)) and not is_area(np.float32(4.5))
    assert is_integer(np.uint8(4)) and not is_integer(np.bool_(1)) and not is_integer(np.float64(4))


@pytest.mark.parametrize("isthing", [False, 0])
def test_stuff_stays_stuff(tiny, isthing):
    tiny.content["categories"] = [{"id": 3, "name": "sky", "isthing": isthing}]
    assert MetadataCatalog.get(tiny.register()).thing_classes == []


def test_texts_for_isthing_are_refused_at_registration(tiny):
    tiny.content["categories"] = [{"id": 3, "name": "sky", "isthing": "0"}]
    with pytest.raises(UserError, match=r"'isthing' of categories\[0\] of '.*' is '0'"):
        tiny.register()


@pytest.mark.parametrize("images", ["missing", "empty", "nameless", "named"])
def test_image_files_come_from_images_else_from_the_png_names(tiny, images):
    tiny.add([[1, 1]], [(1, 7)], extension=".jpg")
    if images == "missing":
        del tiny.content["images"]
    elif images == "empty":
        tiny.content["images"] = []
    elif images == "nameless":
        del tiny.content["images"][0]["file_name"]
    assert tiny.records()[0]["file_name"] == str(tiny.images / "picture_1.jpg")


def test_ids_of_images_may_be_texts_on_one_side(tiny):
    tiny.add([[1, 1]], [(1, 7)])
    tiny.content["images"][0]["id"] = "1"
    (record,) = tiny.records()
    assert (record["image_id"], record["height"]) == (1, 1)


def test_images_listed_twice_are_refused(tiny):
    tiny.add([[1, 1]], [(1, 7)])
    tiny.content["images"] *= 2
    with pytest.raises(UserError, match=r"Image 1 is twice in 'images' of '.*': keep one"):
        tiny.records()


def test_crowds_of_another_loader_are_checked(tiny):
    """Detectron2's own loaders take any iscrowd."""
    tiny.add([[1, 1]], [(1, 7)])
    record = tiny.records()[0]
    record["segments_info"][0]["iscrowd"] = "0"
    DatasetCatalog.remove("tiny")
    DatasetCatalog.register("tiny", lambda: [record])
    (fault,) = check_dataset("tiny").faults
    assert "'iscrowd' of segments_info[0] of '" in fault
    assert "picture_1.png' is '0': write 1 for a crowd region, else 0." in fault

"""JSONs of another format: each value of a small data set replaced, removed or doubled in turn."""

import copy
import json
import math

import numpy as np
import pytest
from PIL import Image

from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import check_dataset, register_panoptic, write_panoptic_png
from d2_psformer.evaluation import PanopticQualityEvaluator
from d2_psformer.evaluation.builder import ground_truth_kind
from d2_psformer.evaluation.panoptic_quality import evaluate_files
from d2_psformer.utils.errors import UserError

NAME = "malformed"
VALUES = [
    *(None, [], {}, "", "0", "x", -1, 0, 1.5, math.nan, math.inf, True, 2**70, [[]], {"a": 1}),
]
CONTENT = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 3}],
    "annotations": [
        {
            "image_id": 1,
            "file_name": "1.png",
            "segments_info": [
                {"id": 5, "category_id": 7, "iscrowd": 0, "area": 4},
                {"id": 6, "category_id": 3, "iscrowd": 0, "area": 2},
            ],
        }
    ],
    "categories": [
        {"id": 7, "name": "cat", "isthing": 1, "color": [9, 9, 9]},
        {"id": 3, "name": "sky", "isthing": 0},
    ],
}


def places(value, way=()):
    """Where the values of nested lists and dicts are, as tuples of keys and indices."""
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*way, key)
        yield from places(inner, (*way, key))


def changes(sound):
    """(what was done, content) for every change."""
    for value in VALUES:
        yield f"all is {value!r}", value
    for way in places(sound):
        for how in [*VALUES, "remove", "double"]:
            content = copy.deepcopy(sound)
            *outer, last = way
            inner = content
            for step in outer:
                inner = inner[step]
            if how == "remove":
                del inner[last]
            elif how == "double":
                if not isinstance(inner, list):
                    continue
                inner.append(inner[last])
            else:
                inner[last] = how
            yield f"{way}: {how!r}", content


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (3, 2)).save(tmp_path / "images" / "1.jpg")
    write_panoptic_png(tmp_path / "png" / "1.png", np.array([[5, 5, 6], [5, 5, 6]]))
    yield tmp_path
    forget()


def forget():
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def files_against_themselves(path, _):
    folder = str(path.parent / "png")
    return evaluate_files(str(path), str(path), folder, folder).results()["All"]["pq"]


def files_against_sound_ones(path, _):
    folder = str(path.parent / "png")
    sound = path.with_name("sound.json")
    sound.write_text(json.dumps(CONTENT))
    return evaluate_files(str(sound), str(path), folder, folder).results()["All"]["pq"]


def predictions_in_memory(path, predict):
    register(path)
    evaluator = PanopticQualityEvaluator(NAME)
    for record in DatasetCatalog.get(NAME):
        evaluator.process([record], [predict(record)])
    return evaluator.evaluate()["panoptic_seg"]["PQ"] / 100


def checked(path, _):
    register(path)
    faults = check_dataset(NAME).faults
    if faults:
        raise UserError(faults[0])
    return 1


def ground_truth(path, _):
    register(path)
    return ground_truth_kind(MetadataCatalog.get(NAME)) == "panoptic"


def images_alone(path, _):
    register(path)
    return len(DatasetCatalog.get(NAME))


def register(path):
    forget()
    register_panoptic(NAME, path.parent / "images", path, path.parent / "png")


IMAGES_ALONE = {key: CONTENT[key] for key in ("images", "categories")}


@pytest.mark.parametrize(
    ("use", "sound"),
    [
        (files_against_themselves, CONTENT),
        (files_against_sound_ones, CONTENT),
        (predictions_in_memory, CONTENT),
        (checked, CONTENT),
        (ground_truth, CONTENT),
        (images_alone, IMAGES_ALONE),
    ],
)
def test_every_change_is_read_rightly_or_refused_by_name(root, predict, use, sound):
    """Whatever is accepted scores 100 against itself."""
    path, wrong, refused = root / "p.json", [], 0
    for what, content in [("nothing", sound), *changes(sound)]:
        if sound is CONTENT and isinstance(content, dict) and content.get("annotations", []) == []:
            continue  # legal, and without a score
        path.write_text(json.dumps(content))
        try:
            result = use(path, predict)
        except UserError as error:
            refused += 1
            if str(root) not in str(error) or "\n" in str(error) or what == "nothing":
                wrong.append((what, str(error)))
        except Exception as error:
            wrong.append((what, repr(error)))
        else:
            if result != 1:
                wrong.append((what, result))
    assert not wrong
    assert refused > 100

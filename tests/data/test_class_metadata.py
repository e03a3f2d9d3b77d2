"""Classes are identified by name: the same ones under other ids are numbered alike."""

import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.classes import Classes
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data.class_metadata import (
    align_classes,
    align_data_set,
    class_metadata,
    has_classes,
    set_classes,
)
from d2_psformer.data.registration import register_with_classes
from d2_psformer.utils.errors import UserError

CATEGORIES = [
    {"id": 3, "name": "cat", "isthing": 1, "color": [200, 0, 0]},
    {"id": 7, "name": "dog", "isthing": 1, "color": [0, 200, 0]},
    {"id": 12, "name": "grass", "isthing": 0, "color": [0, 0, 200]},
    {"id": 40, "name": "sky", "isthing": 0, "color": [10, 20, 30]},
]


def things_first(categories) -> Classes:
    return Classes.from_categories(categories, things_first=True)


def metadata(categories, name="mine", make=things_first) -> dict:
    return {"name": name, **make(categories).to_metadata()}


def with_ids(ids, categories=CATEGORIES) -> list[dict]:
    return [{**c, "id": i} for c, i in zip(categories, ids, strict=True)]


def with_names(names) -> list[dict]:
    return [{**c, "name": n} for c, n in zip(CATEGORIES, names, strict=True)]


REFERENCE = metadata(CATEGORIES, "theirs")


def identities(known: dict) -> list[tuple]:
    """(name, thing, data-set id) by contiguous id."""
    categories = Classes.from_metadata(known).categories()
    return [(c["name"], bool(c["isthing"]), c["id"]) for c in categories]


def test_equal_classes_are_left_alone():
    ours = metadata(CATEGORIES)
    assert align_classes(ours, REFERENCE, "it") is ours


@given(st.permutations([3, 7, 12, 40]), st.sampled_from([things_first, Classes.from_categories]))
def test_names_decide_whatever_the_ids(ids, make):
    aligned = align_classes(metadata(with_ids(ids), make=make), REFERENCE, "it")
    assert aligned["name"] == "mine"
    assert identities(aligned) == [
        (c["name"], bool(c["isthing"]), i) for c, i in zip(CATEGORIES, ids, strict=True)
    ]
    assert aligned["stuff_colors"] == [c["color"] for c in CATEGORIES]


def test_ids_decide_where_names_differ_and_it_is_said(caplog):
    names = ["Katze", "dog", "Gras", "Himmel"]
    with caplog.at_level(logging.WARNING, "d2_psformer"):
        aligned = align_classes(metadata(with_names(names)), REFERENCE, "checkpoint 'a'")
    assert [name for name, *_ in identities(aligned)] == names
    (message,) = caplog.messages
    for part in ("'mine'", "checkpoint 'a'", "'Katze' is 'cat' there", "'Himmel' is 'sky'"):
        assert part in message


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["car", "bus", "road", "wall"], "thing 'car', thing 'bus', stuff 'road' and 1 more"),
        (["cat", "dog", "road", "wall"], "stuff 'road', stuff 'wall'; only the second has stuff"),
        (["cat", "dog", "grass", "air"], "stuff 'air'; only the second has stuff 'sky'"),
    ],
)
def test_ids_that_only_count_identify_nothing(start, names, words):
    ids = range(start, start + 4)
    foreign = metadata(with_ids(ids, with_names(names)))
    with pytest.raises(UserError, match=f"only the first has {words}"):
        align_classes(foreign, metadata(with_ids(ids), "theirs"), "it")


def test_ids_decide_where_they_are_the_only_names(caplog):
    numbers = with_ids(range(4), with_names(map(str, range(4))))
    ours = metadata(numbers)
    assert align_classes(ours, metadata(with_ids(range(4)), "theirs"), "it") is ours
    assert "'0' is 'cat' there" in caplog.text


def test_ids_decide_nothing_where_no_name_is_known():
    foreign = metadata(with_names(["car", "bus", "road", "wall"]))
    with pytest.raises(UserError, match="only the first has thing 'car', thing 'bus'"):
        align_classes(foreign, REFERENCE, "it")


def test_spaces_around_a_name_do_not_count(caplog):
    """Detectron2's ADE20K has a class 'window '."""
    ids = range(4)
    ours = metadata(with_ids(ids, with_names(["cat", "dog ", "grass", "sky"])))
    assert align_classes(ours, metadata(with_ids(ids), "theirs"), "it") is ours
    assert not caplog.messages


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        (CATEGORIES[:-1], ("only the first has none", "stuff 'sky'")),
        (
            [*CATEGORIES, {"id": 1, "name": "sea", "isthing": 0}],
            ("only the first has stuff 'sea'", "only the second has none"),
        ),
        ([*CATEGORIES[:-1], {**CATEGORIES[-1], "isthing": 1}], ("thing 'sky'", "stuff 'sky'")),
        (with_ids([3, 7, 12, 41], with_names(["cat", "dog", "grass", "air"])), ("'air'", "'sky'")),
        # the ids are the same, but two names have exchanged theirs
        (with_names(["dog", "cat", "grass", "air"]), ("stuff 'air'", "stuff 'sky'")),
        (
            [{"id": i, "name": f"c{i}", "isthing": 1} for i in range(9)],
            ("thing 'c0', thing 'c1', thing 'c2' and 6 more", "stuff 'grass' and 1 more"),
        ),
    ],
)
def test_other_classes_are_refused_by_name(categories, words):
    with pytest.raises(UserError, match="The classes of data set 'mine' and the model") as caught:
        align_classes(metadata(categories), REFERENCE, "the model")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_name_that_occurs_twice_is_identified_by_its_id():
    doubled = with_names(["cat", "cat", "grass", "sky"])
    reference = metadata(doubled, "theirs")
    same_ids = metadata(with_ids([3, 7, 40, 12], doubled))
    found = identities(align_classes(same_ids, reference, "it"))
    assert found == [("cat", True, 3), ("cat", True, 7), ("grass", False, 40), ("sky", False, 12)]
    with pytest.raises(UserError, match=r"thing 'cat' \(id 1\), thing 'cat' \(id 2\)"):
        align_classes(metadata(with_ids([1, 2, 12, 40], doubled)), reference, "it")


def test_a_thing_and_stuff_of_one_name_are_two_classes():
    names = with_names(["tree", "dog", "tree", "sky"])
    aligned = align_classes(
        metadata(with_ids([12, 40, 3, 7], names)), metadata(names, "theirs"), "it"
    )
    assert [(name, i) for name, _, i in identities(aligned)] == [
        ("tree", 12), ("dog", 40), ("tree", 3), ("sky", 7),
    ]  # fmt: skip


@pytest.fixture
def forget():
    """Removes data sets from the catalogs after the test."""
    names = []
    yield names
    for name in names:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_file_with_other_ids_than_the_registration(tiny, forget):
    """Segment 1 is a dog in the JSON: it stays one, whatever number dogs had when registered."""
    tiny.content["categories"] = with_ids([7, 3, 40, 12])
    tiny.add(np.array([[1, 2], [2, 2]]), [(1, 3), (2, 12)])
    tiny.json.write_text(json.dumps(tiny.content))
    forget.append("static")
    known = things_first(CATEGORIES)
    register_with_classes("static", tiny.images, tiny.json, tiny.panoptic, known)
    align_data_set("static", metadata(CATEGORIES, "static"), "its registration")
    found = identities(class_metadata("static"))
    assert found == [("cat", True, 7), ("dog", True, 3), ("grass", False, 40), ("sky", False, 12)]
    (record,) = DatasetCatalog.get("static")
    assert [s["category_id"] for s in record["segments_info"]] == [1, 3]
    assert [s["isthing"] for s in record["segments_info"]] == [True, False]


def test_colours_of_the_registration_stay(tiny, forget):
    tiny.content["categories"] = [{**c, "color": [1, 2, 3]} for c in CATEGORIES]
    tiny.json.write_text(json.dumps(tiny.content))
    forget.append("static")
    known = things_first(CATEGORIES)
    register_with_classes("static", tiny.images, tiny.json, tiny.panoptic, known)
    align_data_set("static", metadata(CATEGORIES, "static"), "its registration")
    assert class_metadata("static") == metadata(CATEGORIES, "static")


def test_data_of_things_alone_have_classes(forget):
    forget.append("things")
    DatasetCatalog.register("things", list)
    known = {"thing_classes": ["cat"], "thing_dataset_id_to_contiguous_id": {3: 0}}
    MetadataCatalog.get("things").set(**known)
    assert has_classes("things"), "an instance data set"
    MetadataCatalog.get("things").panoptic_json = "x.json"
    assert has_classes("things")


def test_records_of_another_loader_are_renumbered(forget):
    records = [
        {
            "image_id": 1,
            "segments_info": [
                {"id": 5, "category_id": 1, "isthing": 1},
                {"id": 6, "category_id": 2},
            ],
        },
        {"image_id": 2},
    ]
    forget.append("foreign")
    DatasetCatalog.register("foreign", lambda: records)
    known = things_first(with_ids([7, 3, 12, 40])).to_metadata()
    MetadataCatalog.get("foreign").set(evaluator_type="x", **known)
    set_classes("foreign", align_classes(class_metadata("foreign"), REFERENCE, "it"))
    assert identities(class_metadata("foreign"))[0] == ("cat", True, 7)
    assert MetadataCatalog.get("foreign").evaluator_type == "x"
    first, second = DatasetCatalog.get("foreign")
    assert [s["category_id"] for s in first["segments_info"]] == [0, 2]
    assert [s["isthing"] for s in first["segments_info"]] == [True, False]
    assert second == {"image_id": 2}
    assert records[0]["segments_info"][0]["category_id"] == 1, "the loader's own are left alone"


def test_colors_of_a_foreign_registration_become_numbers(forget):
    forget.append("foreign")
    known = things_first(CATEGORIES).to_metadata()
    hexadecimal = {**known, "stuff_colors": ["#c80000", *known["stuff_colors"][1:]]}
    MetadataCatalog.get("foreign").set(**hexadecimal)
    align_data_set("foreign", class_metadata("foreign"), "its registration")
    assert MetadataCatalog.get("foreign").stuff_colors == [c["color"] for c in CATEGORIES]


def test_other_colors_of_a_foreign_registration_are_refused(forget):
    forget.append("foreign")
    known = things_first(CATEGORIES).to_metadata()
    MetadataCatalog.get("foreign").set(**{**known, "thing_colors": ["red", "blue"]})
    with pytest.raises(UserError, match=r"thing_colors\[0\] of data set 'foreign' is 'red': write"):
        align_data_set("foreign", REFERENCE, "it")

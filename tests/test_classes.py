"""Which classes are things, which stuff, what they are called and where a data set keeps them."""

from types import SimpleNamespace

import pytest

from d2_psformer.classes import Classes, parse_color, unique_names
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.utils.errors import UserError

CATEGORIES = [
    {"id": 40, "name": "sky", "isthing": 0, "color": "#0a141e"},
    {"id": "b", "name": "bat", "isthing": 1},
    {"id": 7, "name": "dog", "isthing": True, "color": [200, 0, 0]},
    {"id": 12, "name": "grass", "isthing": False, "color": None},
]


def metadata(things=None, stuff=None, **others):
    """Metadata with these id maps and as many names as they need."""
    ids = [*(things or {}).values(), *(stuff or {}).values()]
    names = [f"class {i}" for i in range(max(ids, default=-1) + 1)]
    values = {"name": "somewhere", "stuff_classes": names, **others}
    if things is not None:
        values["thing_dataset_id_to_contiguous_id"] = things
    if stuff is not None:
        values["stuff_dataset_id_to_contiguous_id"] = stuff
    return SimpleNamespace(get=values.get)


def test_detectron2s_coco_panoptic_metadata():
    """All 133 names stand in thing_classes there: the numbers come from the id maps alone."""
    import d2_psformer.data.public  # noqa: F401  (registers the data sets)

    coco = MetadataCatalog.get("coco_2017_train_panoptic")
    classes = Classes.from_metadata(coco)
    assert (classes.num_things, classes.num_stuff, classes.num_classes) == (80, 53, 133)
    assert classes.thing_ids == tuple(range(80)) and classes.stuff_ids == tuple(range(80, 133))
    assert (classes.names[0], classes.category_ids[79], classes.colors[0]) == (
        "person", 90, (220, 20, 60)
    )  # fmt: skip


def test_real_detectron2s_own_coco_metadata():
    builtin = pytest.importorskip("detectron2.data.datasets.builtin_meta")
    values = builtin._get_builtin_metadata("coco_panoptic_standard")
    assert len(values["thing_classes"]) == 133
    classes = Classes.from_metadata(SimpleNamespace(get=values.get))
    assert (classes.num_things, classes.num_stuff) == (80, 53)


def test_a_stuff_map_may_hold_the_things_too():
    classes = Classes.from_metadata(metadata({7: 0, 9: 1}, {7: 0, 9: 1, 3: 2, 4: 3}))
    assert (classes.thing_ids, classes.stuff_ids) == ((0, 1), (2, 3))
    assert classes.category_ids == {0: 7, 1: 9, 2: 3, 3: 4}


def test_two_categories_may_share_a_contiguous_id():
    classes = Classes.from_metadata(metadata({7: 0, 8: 0, 9: 1}, {3: 2}))
    assert (classes.thing_ids, classes.stuff_ids) == ((0, 1), (2,))


def test_cityscapes_has_its_things_last():
    classes = Classes.from_metadata(metadata({24: 2, 25: 3}, {7: 0, 8: 1}))
    assert (classes.thing_ids, classes.stuff_ids) == ((2, 3), (0, 1))


@pytest.mark.parametrize(
    ("things", "stuff", "counts"),
    [({1: 0}, None, (1, 0)), ({1: 0}, {}, (1, 0)), (None, {1: 0, 2: 1}, (0, 2))],
)
def test_one_kind_alone(things, stuff, counts):
    classes = Classes.from_metadata(metadata(things, stuff))
    assert (classes.num_things, classes.num_stuff) == counts


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ({"thing_classes": ["a", "b"], "stuff_classes": ["c"]}, ("a", "b", "c")),
        ({"thing_classes": ["a", "b", "c"], "stuff_classes": []}, ("a", "b", "c")),
        ({"thing_classes": ["a"], "stuff_classes": ["a", "b", "c"]}, ("a", "b", "c")),
    ],
)
def test_names_are_in_either_list_or_in_both(lists, names):
    assert Classes.from_metadata(metadata({1: 0, 2: 1}, {3: 2}, **lists)).names == names


def test_category_ids_serve_where_nothing_is_named():
    assert Classes.from_metadata(metadata({7: 1}, {3: 0}, stuff_classes=[])).names == ("3", "7")


def test_a_class_without_a_name_is_refused():
    with pytest.raises(UserError, match="'somewhere' has 3 class ids, but 1 names in thing_"):
        Classes.from_metadata(
            metadata({1: 0, 2: 1}, {3: 2}, thing_classes=["a"], stuff_classes=["b"])
        )


def test_metadata_without_panoptic_classes_is_named():
    with pytest.raises(UserError, match=r"'somewhere' has no metadata of its .*register_semantic"):
        Classes.from_metadata(metadata())


def test_ids_that_stand_for_both_kinds_are_named():
    """Detectron2's 'separated' metadata counts its stuff from 0 again."""
    with pytest.raises(UserError, match=r"\[0, 1\] stand for a thing and for a stuff class"):
        Classes.from_metadata(metadata({1: 0, 2: 1, 3: 2}, {92: 0, 93: 1}))


def test_no_classes_at_all():
    with pytest.raises(UserError, match="neither thing nor stuff classes"):
        Classes.from_metadata(metadata({}, {}))


def test_categories_keep_their_places_or_put_things_first():
    placed = Classes.from_categories(CATEGORIES)
    assert (placed.thing_ids, placed.stuff_ids) == ((1, 2), (0, 3))
    assert [c["id"] for c in placed.categories()] == [40, "b", 7, 12]
    ordered = Classes.from_categories(CATEGORIES[::-1], things_first=True)
    assert ordered == Classes.from_categories(
        [{**c, "color": ordered.colors[i]} for i, c in enumerate(ordered.categories())]
    )
    assert ordered.names == ("dog", "bat", "grass", "sky")
    assert (ordered.colors[0], ordered.colors[3]) == ((200, 0, 0), (10, 20, 30))
    assert len(set(ordered.colors)) == 4


@pytest.mark.parametrize("things_first", [True, False])
def test_metadata_holds_all_there_is(things_first):
    classes = Classes.from_categories(CATEGORIES, things_first=things_first)
    assert Classes.from_metadata(classes.to_metadata()) == classes
    assert len(classes.to_metadata()["thing_classes"]) == (2 if things_first else 3)


@pytest.mark.parametrize(
    ("value", "color"),
    [([1, 2, 3], [1, 2, 3]), ((0, 0, 255), (0, 0, 255)), ("#2ca02C", [44, 160, 44])],
)
def test_plain_colors(value, color):
    assert parse_color(value) == color


@pytest.mark.parametrize(
    "value",
    [
        *("10,20,30", "#fff", "#2ca02cff", "2ca02c", "red", "#2ca02g", "#2ca02c\n"),
        *([1, 2, 3, 255], [1, 2], [0.5, 0.5, 0.5], [1, 2, 256], [-1, 2, 3], [True, 0, 0], 7, None),
    ],
)
def test_other_colors_are_refused_by_name(value):
    assert parse_color(value) is None
    known = metadata({1: 0}, {3: 1}, stuff_colors=[[1, 2, 3], value])
    with pytest.raises(UserError, match=r"stuff_colors\[1\] of data set 'somewhere' is .*: write"):
        Classes.from_metadata(known)


def test_equal_names_are_told_apart_by_their_ids():
    assert unique_names(["a", "b", "a"], [3, 4, "x"]) == ["a (3)", "b", "a (x)"]

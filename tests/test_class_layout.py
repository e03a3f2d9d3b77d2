"""Which classes are things, which stuff, and where a data set keeps them."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.class_layout import ClassLayout
from d2_psformer.d2.data import MetadataCatalog


def metadata(things=None, stuff=None, **others):
    values = {"name": "somewhere", **others}
    if things is not None:
        values["thing_dataset_id_to_contiguous_id"] = things
    if stuff is not None:
        values["stuff_dataset_id_to_contiguous_id"] = stuff
    return SimpleNamespace(get=values.get)


def test_detectron2s_coco_panoptic_metadata():
    """All 133 names stand in thing_classes there: only the id maps tell the counts."""
    import d2_psformer.data  # noqa: F401  (registers the data sets)

    coco = MetadataCatalog.get("coco_2017_train_panoptic")
    layout = ClassLayout.from_metadata(coco)
    assert (layout.num_things, layout.num_stuff, layout.num_classes) == (80, 53, 133)
    assert layout.thing_ids == tuple(range(80)) and layout.stuff_ids == tuple(range(80, 133))


def test_real_detectron2s_own_coco_metadata():
    builtin = pytest.importorskip("detectron2.data.datasets.builtin_meta")
    values = builtin._get_builtin_metadata("coco_panoptic_standard")
    assert len(values["thing_classes"]) == 133
    layout = ClassLayout.from_metadata(SimpleNamespace(get=values.get))
    assert (layout.num_things, layout.num_stuff) == (80, 53)


def test_a_stuff_map_may_hold_the_things_too():
    layout = ClassLayout.from_metadata(metadata({7: 0, 9: 1}, {7: 0, 9: 1, 3: 2, 4: 3}))
    assert layout == ClassLayout((0, 1), (2, 3))


def test_cityscapes_has_its_things_last():
    layout = ClassLayout.from_metadata(metadata({24: 2, 25: 3}, {7: 0, 8: 1}))
    assert layout.thing_index().tolist() == [-1, -1, 0, 1]
    assert layout.stuff_index().tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("things", "stuff", "counts"),
    [({1: 0}, None, (1, 0)), ({1: 0}, {}, (1, 0)), (None, {1: 0, 2: 1}, (0, 2))],
)
def test_one_kind_alone(things, stuff, counts):
    layout = ClassLayout.from_metadata(metadata(things, stuff))
    assert (layout.num_things, layout.num_stuff) == counts


def test_metadata_without_panoptic_classes_is_named():
    with pytest.raises(
        ValueError, match=r"'somewhere' has no panoptic metadata.*register_panoptic"
    ):
        ClassLayout.from_metadata(metadata(thing_classes=["cat"]))


def test_ids_that_stand_for_both_kinds_are_named():
    """Detectron2's 'separated' metadata counts its stuff from 0 again."""
    with pytest.raises(ValueError, match=r"\[0, 1\] stand for a thing and for a stuff class"):
        ClassLayout.from_metadata(metadata({1: 0, 2: 1, 3: 2}, {92: 0, 93: 1}))


def test_no_classes_at_all():
    with pytest.raises(ValueError, match="neither thing nor stuff classes"):
        ClassLayout.from_metadata(metadata({}, {}))


@given(st.sets(st.integers(0, 40), min_size=1), st.randoms())
def test_tables_undo_the_ids(ids, random):
    things = {i for i in ids if random.random() < 0.5}
    layout = ClassLayout(tuple(sorted(things)), tuple(sorted(ids - things)))
    assert len(layout.thing_index()) == len(layout.stuff_index()) == layout.num_classes
    for table, known in [
        (layout.thing_index(), layout.thing_ids),
        (layout.stuff_index(), layout.stuff_ids),
    ]:
        assert [table[i].item() for i in known] == list(range(len(known)))
        assert (table >= 0).sum() == len(known)

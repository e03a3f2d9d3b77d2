"""Fine-tuning: rows of layers for classes go to the class of the same name, in every model."""

import pytest
import torch
from small_models import EVERY_ARCHITECTURE, JOINT, VARIANTS, tiny_model

from d2_psformer.checkpoint.class_rows import (
    ABSENT,
    KEPT,
    LOADED,
    NEW,
    RESHAPED,
    UNUSED,
    fits_classes,
    transfer,
)
from d2_psformer.classes import NO_OBJECT, Classes

THERE = Classes((0, 1), (2, 3), ("cat", "dog", "sky", "road"), category_ids=dict(enumerate("abcd")))
# "road" is at another place, "cat" another kind of class, two are new, and case does not matter.
HERE = Classes(
    (0, 1, 2),
    (3, 4),
    ("bird", "Dog", "horse", "road", "cat"),
    category_ids=dict(enumerate("vwxyz")),
)


@pytest.mark.parametrize("variant", [*EVERY_ARCHITECTURE, "joint"])
def test_rows_of_every_architecture(variant):
    options = (VARIANTS | {"joint": JOINT})[variant]
    saved = tiny_model((0, 1), (2, 3), **options)
    model = tiny_model((0, 1, 2), (3, 4), filled=False, **options)
    own, saved_state = model.state_dict(), saved.state_dict()
    found = transfer(own, saved_state, model.class_rows, HERE, THERE)
    assert found.names[ABSENT] == found.names[UNUSED] == found.names[RESHAPED] == []
    kept = ["Dog", "road"] if variant == "decoupled" else ["Dog", "road", "cat"]
    assert found.names[KEPT] == kept
    assert found.names[NEW] == [name for name in HERE.names if name not in kept]
    model.load_state_dict(found.state)

    layers = model.class_rows(HERE)
    saved_rows = model.class_rows(THERE)
    for name, value in model.state_dict().items():
        layer = next((layer for layer in layers if name.startswith(layer)), None)
        if layer is None:
            assert torch.equal(value, saved_state[name])
            continue
        assert len(value) == len(layers[layer])
        for row, number in enumerate(layers[layer]):
            label = "" if number == NO_OBJECT else HERE.names[number].lower()
            labels = ["" if n == NO_OBJECT else THERE.names[n] for n in saved_rows[layer]]
            expected = own[name][row]
            if label in labels:
                expected = saved_state[name][labels.index(label)]
            assert torch.equal(value[row], expected), (name, label)


@pytest.mark.parametrize("variant", [*EVERY_ARCHITECTURE, "joint"])
def test_every_layer_that_grows_with_the_classes_is_known(variant):
    options = (VARIANTS | {"joint": JOINT})[variant]
    small, large = (
        tiny_model(things, stuff, filled=False, **options)
        for things, stuff in (((0, 1), (2, 3)), ((0, 1, 2), (3, 4, 5)))
    )
    shapes = {name: value.shape for name, value in small.state_dict().items()}
    grown = {name for name, value in large.state_dict().items() if value.shape != shapes[name]}
    assert grown
    layers = tuple(f"{layer}." for layer in large.class_rows(HERE))
    assert grown == {name for name in shapes if name.startswith(layers)}


def test_unknown_classes_and_other_shapes_start_anew():
    rows_of = {4: {"head": [0, 1, 2, 3]}, 5: {"head": [0, 1, 2, 3, 4]}}
    own = {"body": torch.zeros(2), "head.weight": torch.zeros(5, 2), "queries": torch.zeros(3)}
    saved = {"body": torch.ones(2), "head.weight": torch.ones(4, 2), "queries": torch.ones(4)}
    found = transfer(own, saved, lambda c: rows_of[c.num_classes], HERE, None)
    assert found.names[LOADED] == ["body"]
    assert found.names[KEPT] == []
    assert not found.state["head.weight"].any()
    assert "queries ((4,) there, (3,) here)" in found.names[RESHAPED]
    assert "(4,) there" in found.table()


def test_names_that_occur_twice_are_told_apart_by_id():
    def classes(*ids):
        return Classes((0, 1), (), ("cat", "cat"), category_ids=dict(enumerate(ids)))

    own, saved = {"head.bias": torch.zeros(2)}, {"head.bias": torch.tensor([1.0, 2.0])}
    found = transfer(own, saved, lambda c: {"head": [0, 1]}, classes(7, 9), classes(9, 7))
    assert found.state["head.bias"].tolist() == [2, 1]


def test_numbers_of_rows_identify_classes():
    model = tiny_model((0, 1), (2, 3), filled=False, **VARIANTS["maskformer"])
    assert fits_classes(model.state_dict(), model.class_rows, THERE)
    assert not fits_classes(model.state_dict(), model.class_rows, HERE)
    assert not fits_classes({}, model.class_rows, THERE), "nothing says so"

"""`_BASE_` in config files, and YAML that would construct objects, on both backends."""

import math

import pytest
import torch
import yaml

from d2_psformer.d2.config import get_cfg
from d2_psformer.data.converters.records import Source
from d2_psformer.data.converters.yolo import YoloSegments
from d2_psformer.data.description import read_data_yaml
from d2_psformer.engine.stored_config import read_stored_config
from d2_psformer.utils.errors import UserError

MARK = "!!python/object/apply:os.mkdir [{}]"


def write(path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("base", ["''", "null", "3", "{a: b}", "[null]", "https://a.b/c", '"\\0"'])
def test_a_base_that_is_no_path(tmp_path, base):
    path = write(tmp_path / "a.yaml", f"_BASE_: {base}")
    with pytest.raises(UserError, match=r"a\.yaml': _BASE_ has .*: write the path of a config"):
        get_cfg().load_file(path)


def test_a_cycle_is_named(tmp_path):
    write(tmp_path / "b.yaml", "_BASE_: [a.yaml]")
    path = write(tmp_path / "a.yaml", "_BASE_: b.yaml")
    with pytest.raises(UserError, match=r"a\.yaml' is its own _BASE_, by way of '.*b\.yaml'"):
        get_cfg().load_file(path)


def test_two_ways_to_one_base_are_no_cycle(tmp_path):
    write(tmp_path / "c.yaml", "SEED: 3\nSOLVER: {STEPS: [1], GAMMA: 0.5}")
    write(tmp_path / "b.yaml", "_BASE_: c.yaml\nSOLVER: {GAMMA: 0.25}")
    path = write(tmp_path / "a.yaml", "_BASE_: [c.yaml, b.yaml]\nSOLVER: {STEPS: [2]}")
    loaded = get_cfg().load_file(path)
    assert loaded == {"SEED": 3, "SOLVER": {"STEPS": [2], "GAMMA": 0.25}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are none"),
        ("[1, 2]", r"it is \[1, 2\]"),
        ("1: 2", "the key 1 is no text"),
        (
            "_BASE_: base.yaml\nSEED: {A: 1}",
            "'SEED' is a group of keys here and none in its _BASE_",
        ),
        ("SEED: 1\nA: 3\nSEED: 2", "'SEED' has two values, in line 1 and in line 3"),
    ],
)
def test_other_mistakes(tmp_path, text, message):
    write(tmp_path / "base.yaml", "SEED: 3")
    with pytest.raises(UserError, match=message):
        get_cfg().load_file(write(tmp_path / "a.yaml", text))


def readers(folder, text: str) -> dict:
    """All that read YAML of users, each with a file of that text."""
    base = write(folder / "base.yaml", text)
    above = write(folder / "above.yaml", "_BASE_: base.yaml")
    data = write(folder / "data.yaml", f"{text}\nDATASETS: {{}}")
    yolo = Source(folder / "data.yaml")
    torch.save({"model": {"a": torch.zeros(1)}, "config": text}, folder / "model.pth")
    return {
        "a file": lambda: get_cfg().merge_from_file(base),
        "a base": lambda: get_cfg().merge_from_file(above),
        "data.yaml": lambda: read_data_yaml(data),
        "YOLO's data.yaml": lambda: YoloSegments(yolo),
        "a checkpoint": lambda: read_stored_config(str(folder / "model.pth")),
    }


def test_a_value_twice(tmp_path):
    """A config of the official Mask2Former has one."""
    path = write(tmp_path / "a.yaml", "SOLVER: {STEPS: [1, 2], STEPS: [1, 2]}")
    assert get_cfg().load_file(path) == {"SOLVER": {"STEPS": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "loaded"),
    [
        ("A: &a {B: 1}\nC: {<<: *a, B: 2}", {"A": {"B": 1}, "C": {"B": 2}}),
        (
            "A: &a {B: 1}\nC: &c {D: 2}\nE: {<<: *a, <<: *c}",
            {"A": {"B": 1}, "C": {"D": 2}, "E": {"B": 1, "D": 2}},
        ),
    ],
)
def test_what_is_no_value_twice(tmp_path, text, loaded):
    assert get_cfg().load_file(write(tmp_path / "a.yaml", text)) == loaded


def test_a_number_that_differs_from_itself(tmp_path):
    loaded = get_cfg().load_file(write(tmp_path / "a.yaml", "A: .nan"))
    assert math.isnan(loaded["A"])


def test_no_yaml_constructs_objects(tmp_path):
    target = tmp_path / "made"
    unsafe = f"SEED: {MARK.format(target)}"
    yaml.unsafe_load(unsafe)  # it would
    assert target.exists()
    target.rmdir()
    for name, read in readers(tmp_path, unsafe).items():
        with pytest.raises(UserError, match=r"no safe YAML .*python/object"):
            read()
        assert not target.exists(), name


@pytest.mark.parametrize("line", ["a{n}: &a{n} [{aliases}]", "a{n}: &a{n} {{<<: [{aliases}]}}"])
def test_aliases_of_aliases_fill_no_memory(tmp_path, line):
    lines = ["a0: &a0 {SEED: 1}"]
    lines += [line.format(n=n, aliases=", ".join([f"*a{n - 1}"] * 10)) for n in range(1, 10)]
    for read in readers(tmp_path, "\n".join(lines)).values():
        with pytest.raises(UserError, match=r"' is no safe YAML .* over 1,000,000 characters\.$"):
            read()


def test_aliases_are_read(tmp_path):
    text = "SOLVER: &a {BASE_LR: 0.5}\nTEST: {<<: *a, EVAL_PERIOD: 3}\nINPUT: *a"
    loaded = get_cfg().load_file(write(tmp_path / "a.yaml", text))
    assert loaded.TEST == {"BASE_LR": 0.5, "EVAL_PERIOD": 3}
    assert loaded.INPUT == loaded.SOLVER and loaded.INPUT is not loaded.SOLVER

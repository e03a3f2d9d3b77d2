"""`_BASE_` in config files, and YAML that would construct objects, on both backends."""

import pytest
import yaml

from d2_psformer.d2.config import get_cfg
from d2_psformer.data.description import read_data_yaml
from d2_psformer.engine.stored_config import _parsed
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
    ],
)
def test_other_mistakes(tmp_path, text, message):
    write(tmp_path / "base.yaml", "SEED: 3")
    with pytest.raises(UserError, match=message):
        get_cfg().load_file(write(tmp_path / "a.yaml", text))


def test_no_yaml_constructs_objects(tmp_path):
    target = tmp_path / "made"
    unsafe = f"SEED: {MARK.format(target)}"
    yaml.unsafe_load(unsafe)  # it would
    assert target.exists()
    target.rmdir()
    base = write(tmp_path / "base.yaml", unsafe)
    above = write(tmp_path / "above.yaml", "_BASE_: base.yaml")
    data = write(tmp_path / "data.yaml", f"{unsafe}\nDATASETS: {{}}")
    attempts = {
        "a file": lambda: get_cfg().merge_from_file(base),
        "a base": lambda: get_cfg().merge_from_file(above),
        "data.yaml": lambda: read_data_yaml(data),
        "a checkpoint": lambda: _parsed(unsafe, "model.pth"),
    }
    for attempt in attempts.values():
        with pytest.raises(UserError):
            attempt()
    assert not target.exists()

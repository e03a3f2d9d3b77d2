"""The key tree of d2lite's config, and its errors."""

import pytest

from d2_psformer.d2lite.config import CfgNode, configurable, get_cfg
from d2_psformer.d2lite.errors import UnknownKeyError, UserError


@pytest.fixture
def merge(tmp_path):
    """Merge the text of a YAML file into a config, by default a fresh one."""

    def run(text, cfg=None, **other_files):
        for name, content in other_files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        path = tmp_path / "given.yaml"
        path.write_text(text)
        cfg = get_cfg() if cfg is None else cfg
        cfg.merge_from_file(str(path))
        return cfg

    return run


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, repr(value)


def test_key_tree_is_that_of_detectron2(merge):
    real = pytest.importorskip("detectron2.config").get_cfg()
    assert dict(leaves(get_cfg())) == dict(leaves(real))
    real.SOLVER.STEPS = (5, 6)
    merged = merge(real.dump())
    assert merged.SOLVER == real.SOLVER


def test_default_tuples_stay_tuples():
    cfg = get_cfg()
    assert cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS[0] == (10.0, 10.0, 5.0, 5.0)
    assert isinstance(cfg.MODEL.RESNETS.OUT_FEATURES, list)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("MODEL.PSFORMR", "MODEL"),
        ("SOLVER.BASELR", "SOLVER.BASE_LR"),
        ("INPUT.MINSIZE_TRAIN", "INPUT.MIN_SIZE_TRAIN"),
        ("MODEL.BACKBONE.FREEZEAT", "MODEL.BACKBONE.FREEZE_AT"),
    ],
)
def test_unknown_key_names_the_closest(merge, given, meant):
    *parents, last = given.split(".")
    text = "".join(f"{name}: {{" for name in parents) + f"{last}: 1" + "}" * len(parents)
    for attempt in (lambda: merge(text), lambda: get_cfg().merge_from_list([given, 1])):
        with pytest.raises(UnknownKeyError) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith(f"Unknown config key '{given}'")
        assert meant in message
        assert message.count("\n") == 0


def test_unknown_key_names_the_file(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("SEED: 3\nSOLVER: {QQQQ: 1}")
    with pytest.raises(UnknownKeyError, match=r"SOLVER\.QQQQ.*my\.yaml"):
        get_cfg().merge_from_file(str(path))


def test_unresembling_key_says_so():
    with pytest.raises(UnknownKeyError, match="no known key resembles it"):
        get_cfg().merge_from_list(["zzzzzzzzzz", 1])


def test_deprecated_and_renamed_keys_keep_yacs_meaning(caplog):
    cfg = get_cfg()
    cfg.register_deprecated_key("SOLVER.GONE")
    cfg.register_renamed_key("SOLVER.OLD", "SOLVER.MAX_ITER")
    cfg.merge_from_list(["SOLVER.GONE", 1])
    cfg.merge_from_other_cfg(CfgNode({"SOLVER": {"GONE": 1}}))
    assert cfg.SOLVER == get_cfg().SOLVER
    with pytest.raises(UnknownKeyError, match=r"renamed to SOLVER\.MAX_ITER"):
        cfg.merge_from_list(["SOLVER.OLD", 1])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SEED: [", "no safe YAML"),
        ("", "no safe YAML"),
        ("[1, 2]", "no safe YAML"),
        ("SEED: !!python/object/apply:os.getpid []", "no safe YAML"),
        ("SOLVER: {STEPS: !!python/tuple [1]}", "no safe YAML"),
        ("VERSION: 1", "VERSION 1"),
        ("_BASE_: given.yaml", "its own _BASE_"),
        ("_BASE_: [3]", "_BASE_ has 3"),
        ("SOLVER: {MAX_ITER: many}", "SOLVER.MAX_ITER"),
    ],
)
def test_bad_files_are_reported_in_one_sentence(merge, text, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        merge(text)
    assert "given.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_base_is_named(merge):
    with pytest.raises(UserError, match=r"nobase\.yaml"):
        merge("_BASE_: nobase.yaml")


def test_base_that_disagrees_in_kind_is_named(merge):
    with pytest.raises(UserError, match=r"given\.yaml.*'SEED'"):
        merge("_BASE_: base.yaml\nSEED: {A: 1}", base="SEED: 1")


def test_keys_that_share_a_value_in_the_base_are_two(merge):
    base = "INPUT: {CROP: &same {SIZE: [0.5, 0.5]}}\nMODEL: {FPN: *same}"
    cfg = CfgNode({"INPUT": {"CROP": {"SIZE": []}}, "MODEL": {"FPN": {"SIZE": []}}})
    merge("_BASE_: base.yaml\nINPUT: {CROP: {SIZE: [0.1, 0.1]}}", cfg, base=base)
    assert (cfg.INPUT.CROP.SIZE, cfg.MODEL.FPN.SIZE) == ([0.1, 0.1], [0.5, 0.5])


def test_base_in_the_home_folder(merge, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert merge("_BASE_: ~/base.yaml", base="SEED: 8").SEED == 8


def test_configurable_is_for_constructors():
    with pytest.raises(TypeError, match="from_config="):

        @configurable
        def function(a):
            return a

    assert configurable() is configurable

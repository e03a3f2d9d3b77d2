"""Config and @configurable, the same on both backends."""

import inspect

import pytest

from d2_psformer.d2.config import CfgNode, configurable, get_cfg
from d2_psformer.utils.errors import UserError


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_known_defaults():
    cfg = get_cfg()
    assert cfg.VERSION == 2
    assert cfg.SOLVER.IMS_PER_BATCH == 16
    assert cfg.SOLVER.STEPS == (30000,)
    assert cfg.INPUT.FORMAT == "BGR"
    assert cfg.INPUT.MIN_SIZE_TRAIN == (800,)
    assert cfg.DATALOADER.SAMPLER_TRAIN == "TrainingSampler"
    assert cfg.MODEL.PIXEL_MEAN == [103.53, 116.28, 123.675]
    assert cfg.TEST.EXPECTED_RESULTS == []
    assert cfg.SOLVER.WEIGHT_DECAY_BIAS is None


def test_get_cfg_returns_independent_trees():
    first, second = get_cfg(), get_cfg()
    first.MODEL.BACKBONE.NAME = "another"
    first.MODEL.PIXEL_MEAN[0] = 0.0
    assert second.MODEL.BACKBONE.NAME == "build_resnet_backbone"
    assert second.MODEL.PIXEL_MEAN[0] == 103.53
    assert get_cfg() == second


def test_project_keys_can_be_added_and_survive_a_dump(tmp_path):
    cfg, fresh = get_cfg(), get_cfg()
    cfg.MODEL.PROJECT, fresh.MODEL.PROJECT = (CfgNode({"WIDTH": width}) for width in (7, 3))
    cfg.INPUT.MIN_SIZE_TRAIN = (480, 512)
    fresh.merge_from_file(write(tmp_path, "dump.yaml", cfg.dump()))
    assert fresh.MODEL.PROJECT == {"WIDTH": 7}
    assert fresh.INPUT == cfg.INPUT
    assert isinstance(fresh.INPUT.MIN_SIZE_TRAIN, tuple)


def test_base_files_are_relative_to_the_file_that_names_them(tmp_path):
    write(
        tmp_path,
        "base.yaml",
        "MODEL: {BACKBONE: {NAME: a, FREEZE_AT: 5}}\nSOLVER: {STEPS: [1, 2], MAX_ITER: 9}",
    )
    write(tmp_path, "sub/middle.yaml", "_BASE_: ../base.yaml\nMODEL: {BACKBONE: {NAME: b}}")
    leaf = write(tmp_path, "sub/leaf.yaml", "_BASE_: middle.yaml\nSOLVER: {STEPS: [3]}\nSEED: 4")
    cfg = get_cfg()
    cfg.merge_from_file(leaf)
    assert (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.FREEZE_AT) == ("b", 5)
    assert (cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER, cfg.SEED) == ((3,), 9, 4)


def test_several_bases_the_last_wins(tmp_path):
    write(tmp_path, "one.yaml", "SEED: 1\nVIS_PERIOD: 1")
    write(tmp_path, "two.yaml", "SEED: 2")
    leaf = write(tmp_path, "leaf.yaml", "_BASE_: [one.yaml, two.yaml]\nOUTPUT_DIR: here")
    cfg = get_cfg()
    cfg.merge_from_file(leaf)
    assert (cfg.SEED, cfg.VIS_PERIOD, cfg.OUTPUT_DIR) == (2, 1, "here")


def test_base_is_reserved_for_files():
    with pytest.raises(UserError):
        get_cfg().merge_from_list(["_BASE_", "x.yaml"])


def test_command_line_values_are_literals():
    cfg = get_cfg()
    cfg.merge_from_list(
        ["SOLVER.BASE_LR", "0.5", "SOLVER.STEPS", "(3, 4)", "MODEL.WEIGHTS", "a/b.pth"]
        + ["MODEL.MASK_ON", "True", "DATASETS.TRAIN", "['x']", "SOLVER.WEIGHT_DECAY_BIAS", "0.1"]
    )
    assert cfg.SOLVER.BASE_LR == 0.5
    assert cfg.SOLVER.STEPS == (3, 4)
    assert cfg.MODEL.WEIGHTS == "a/b.pth"
    assert cfg.MODEL.MASK_ON is True
    assert cfg.DATASETS.TRAIN == ("x",)
    assert cfg.SOLVER.WEIGHT_DECAY_BIAS == 0.1


def test_wrong_type_names_the_key(tmp_path):
    path = write(tmp_path, "wrong.yaml", "SOLVER: {MAX_ITER: many}")
    with pytest.raises(UserError, match=r"SOLVER\.MAX_ITER"):
        get_cfg().merge_from_file(path)
    with pytest.raises(UserError, match=r"SOLVER\.MAX_ITER"):
        get_cfg().merge_from_list(["SOLVER.MAX_ITER", "many"])


def test_unknown_keys_are_refused_by_name(tmp_path):
    path = write(tmp_path, "unknown.yaml", "SOLVER: {MAX_ITR: 3}")
    with pytest.raises(KeyError, match=r"SOLVER\.MAX_ITR"):
        get_cfg().merge_from_file(path)
    with pytest.raises(KeyError, match=r"SOLVER\.MAX_ITR") as caught:
        get_cfg().merge_from_list(["SOLVER.MAX_ITR", "3"])
    assert isinstance(caught.value, UserError)
    assert "did you mean 'SOLVER.MAX_ITER'?" in str(caught.value)


def test_missing_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        get_cfg().merge_from_file("nowhere.yaml")


def test_new_allowed_nodes_take_new_keys():
    cfg = get_cfg()
    cfg.EXTRA = CfgNode({"A": 1}, new_allowed=True)
    cfg.merge_from_other_cfg(CfgNode({"EXTRA": {"B": 2}}))
    assert cfg.EXTRA == {"A": 1, "B": 2}


def test_frozen_configs_are_read_only():
    cfg = get_cfg()
    cfg.freeze()
    with pytest.raises(AttributeError):
        cfg.MODEL.WEIGHTS = "x"
    copy = cfg.clone()
    copy.defrost()
    copy.MODEL.WEIGHTS = "x"
    assert (cfg.MODEL.WEIGHTS, copy.MODEL.WEIGHTS) == ("", "x")


class Layer:
    """Takes a config or its own arguments."""

    @configurable
    def __init__(self, width: int, *, name: str = "none", extra: int = 0):
        """Its own documentation."""
        self.values = (width, name, extra)

    @classmethod
    def from_config(cls, cfg, width):
        return {"width": width, "name": cfg.MODEL.META_ARCHITECTURE}


def test_configurable_class():
    cfg = get_cfg()
    name = cfg.MODEL.META_ARCHITECTURE
    assert Layer(3).values == (3, "none", 0)
    assert Layer(width=3, name="x").values == (3, "x", 0)
    assert Layer(cfg, 3).values == (3, name, 0)
    assert Layer(cfg=cfg, width=3).values == (3, name, 0)
    assert Layer(cfg, width=3, extra=2).values == (3, name, 2)
    # what from_config does not take wins over what it returns
    assert Layer(cfg, 3, name="mine").values == (3, "mine", 0)
    with pytest.raises(TypeError):
        Layer(cfg, 3, unknown=1)
    assert Layer.__init__.__doc__ == "Its own documentation."
    assert "extra" in inspect.signature(Layer.__init__).parameters


def test_configurable_class_with_variadic_from_config():
    class Sub(Layer):
        @classmethod
        def from_config(cls, cfg, **kwargs):
            return {"width": 1, **kwargs}

    assert Sub(get_cfg(), width=5, extra=3).values == (5, "none", 3)


def test_configurable_function():
    @configurable(from_config=lambda cfg, factor: {"value": cfg.SOLVER.MAX_ITER * factor})
    def scale(value, shift=0):
        return value + shift

    cfg = get_cfg()
    assert scale(2) == 2
    assert scale(cfg, 2) == 80000
    assert scale(cfg, factor=2, shift=1) == 80001
    assert scale(cfg, factor=2, value=5) == 5
    assert callable(scale.from_config)
    with pytest.raises(TypeError):
        scale(cfg)


def test_configurable_needs_a_proper_from_config():
    class Without:
        @configurable
        def __init__(self, a=1):
            pass

    class NotClassmethod(Without):
        def from_config(self, cfg):
            return {}

    class OddName(Without):
        @classmethod
        def from_config(cls, config):
            return {}

    with pytest.raises(AttributeError, match="from_config"):
        Without(a=1)
    with pytest.raises(TypeError, match="from_config"):
        NotClassmethod(a=1)
    with pytest.raises(TypeError, match="cfg"):
        OddName(get_cfg())


@pytest.mark.parametrize("nested", [False, True])
def test_files_run_no_code(tmp_path, nested):
    made = tmp_path / "made"
    code = f"!!python/object/apply:os.mkdir ['{made}']"
    (tmp_path / "base.yaml").write_text(f"OUTPUT_DIR: {code}\n")
    (tmp_path / "leaf.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(UserError, match="is no safe YAML"):
        get_cfg().merge_from_file(str(tmp_path / ("leaf.yaml" if nested else "base.yaml")))
    assert not made.exists()

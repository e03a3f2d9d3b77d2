import argparse
import subprocess
import sys

import pytest
import torch
from dummy_processes import ROOT

from d2_psformer.engine import build_model, load_config, setup
from d2_psformer.utils.errors import UserError


@pytest.fixture
def config_file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "config.yaml").write_text(text)
        return str(tmp_path / "config.yaml")

    return write


def test_file_then_command_line(config_file):
    path = config_file("SOLVER: {BASE_LR: 0.5, MAX_ITER: 7}")
    cfg = load_config(path, ["SOLVER.MAX_ITER", "9", "MODEL.TRANSFORMER_DECODER.NUM_QUERIES", "10"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER) == (0.5, 9)
    assert cfg.MODEL.TRANSFORMER_DECODER.NUM_QUERIES == 10
    assert not cfg.is_frozen()


@pytest.mark.parametrize(
    ("text", "opts", "word"),
    [
        ("SOLVER: {BASE_RL: 0.5}", [], "BASE_RL"),
        ("SOLVER: {MAX_ITER: many}", [], "MAX_ITER"),
        ("SOLVER: 3", [], "SOLVER"),
        ("SOLVER: {", [], r"config\.yaml' is no safe YAML"),
        ("SEED: 2001-99-99", [], r"config\.yaml' is no safe YAML"),
        ("SEED: !!timestamp never", [], r"config\.yaml' is no safe YAML"),
        ("SEED: " + 10000 * "[", [], r"config\.yaml' .* nested without end"),
        ("SOLVER: &a {SOLVER: *a}", [], r"config\.yaml' .* over 1,000,000 characters"),
        ("[1, 2]", [], r"config\.yaml' is no safe YAML of 'KEY: value' pairs"),
        ("VERSION: 1", [], r"config\.yaml' has VERSION 1"),
        ("_BASE_: 3", [], r"config\.yaml': _BASE_ has"),
        ("_BASE_: [{a: b}]", [], r"config\.yaml': _BASE_ has"),
        ("{}", ["SOLVER.BASE_RL", "0.5"], "BASE_RL"),
        ("{}", ["SOLVER.BASE_LR"], "BASE_LR"),
    ],
)
def test_wrong_configs(config_file, text, opts, word):
    with pytest.raises(ValueError, match=word) as caught:
        load_config(config_file(text), opts)
    assert "\n" not in str(caught.value)


def test_no_config_file():
    with pytest.raises(UserError, match=r"'nowhere\.yaml' does not exist"):
        load_config("nowhere.yaml")


HARMFUL = "!!python/object/apply:os.mkdir [FOLDER]"
CODE = {
    "at the top": {"config.yaml": HARMFUL},
    "as a value": {"config.yaml": f"SEED: {HARMFUL}"},
    "deep inside": {"config.yaml": f"DATASETS: {{TRAIN: [a, {{b: [{HARMFUL}]}}]}}"},
    "as a key": {"config.yaml": f"? {HARMFUL}\n: 1"},
    "in a base": {"config.yaml": "_BASE_: base.yaml", "base.yaml": f"SEED: {HARMFUL}"},
    "in the base of a base": {
        "config.yaml": "_BASE_: [good.yaml, base.yaml]",
        "good.yaml": "SEED: 1",
        "base.yaml": "_BASE_: bottom.yaml",
        "bottom.yaml": f"OUTPUT_DIR: {HARMFUL}",
    },
}


@pytest.mark.parametrize("files", CODE.values(), ids=CODE)
def test_code_in_a_config_is_refused_and_not_run(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("FOLDER", str(tmp_path / "made")))
    harmful = [*files][-1]
    with pytest.raises(ValueError, match=rf"{harmful}' is no safe YAML .*python/object") as caught:
        load_config(str(tmp_path / "config.yaml"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_code_on_the_command_line_is_text(config_file, tmp_path):
    code = f"__import__('os').mkdir('{tmp_path}/made')"
    cfg = load_config(config_file("{}"), ["OUTPUT_DIR", code])
    assert code == cfg.OUTPUT_DIR
    for value in (code, f"!!python/object/apply:os.mkdir ['{tmp_path}/made']"):
        with pytest.raises(ValueError, match=r"SOLVER\.MAX_ITER"):
            load_config(config_file("{}"), ["SOLVER.MAX_ITER", value])
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("bases", ["config.yaml", "./config.yaml", "[good.yaml, other.yaml]"])
def test_a_config_that_is_its_own_base(config_file, tmp_path, bases):
    path = config_file(f"_BASE_: {bases}")
    (tmp_path / "good.yaml").write_text("SEED: 1")
    (tmp_path / "other.yaml").write_text("_BASE_: config.yaml")
    with pytest.raises(ValueError, match=r"config\.yaml' is its own _BASE_"):
        load_config(path)


def test_one_base_on_two_ways_is_no_circle(config_file, tmp_path):
    (tmp_path / "root.yaml").write_text("SEED: 1\nSOLVER: {MAX_ITER: 3}")
    (tmp_path / "one.yaml").write_text("_BASE_: root.yaml\nSEED: 2")
    (tmp_path / "two.yaml").write_text("_BASE_: root.yaml\nOUTPUT_DIR: two")
    cfg = load_config(config_file("_BASE_: [one.yaml, two.yaml]"))
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.OUTPUT_DIR) == (1, 3, "two")


def test_setup(config_file, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out"
    path = config_file("MODEL: {DEVICE: cuda}\nSEED: 3")
    cfg = setup(
        argparse.Namespace(
            config_file=path, opts=["OUTPUT_DIR", str(out)], eval_only=False, resume=False
        )
    )
    assert cfg.is_frozen()
    assert cfg.MODEL.DEVICE == "cpu"
    log = (out / "log.txt").read_text()
    assert "No CUDA device found" in log
    assert "SEED: 3" in log
    assert "ROI_HEADS" not in log  # only what differs from the defaults
    assert not (out / "config.yaml").exists()  # training writes it


def test_setup_registers_data_sets(config_file, tmp_path):
    path = config_file(f"DATASETS: {{REGISTER: [[mine, a, {tmp_path}/no.json, b]]}}")
    args = argparse.Namespace(config_file=path, opts=["OUTPUT_DIR", str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"no\.json"):
        setup(args)


def test_a_data_set_without_a_name(config_file, tmp_path):
    path = config_file("DATASETS: {REGISTER: [['', a, b.json, c]]}")
    args = argparse.Namespace(config_file=path, opts=["OUTPUT_DIR", str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"REGISTER has the entry \['', 'a', .* without a name"):
        setup(args)


def test_importing_the_engine_registers_models_and_data_sets():
    code = (
        "from d2_psformer.engine import build_model, load_config\n"
        "cfg = load_config('configs/scenes/demo.yaml', ['MODEL.DEVICE', 'cpu'])\n"
        "print(type(build_model(cfg)).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "PanopticSegFormer\n", done.stderr


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("MODEL.META_ARCHITECTURE", "PanopticSegformer", "unknown: use one of PanopticSegFormer"),
        ("MODEL.BACKBONE.NAME", "TimBackbone", "unknown: use one of TimmBackbone"),
        ("MODEL.DEVICE", "gpu", "use 'cuda' or 'cpu'"),
    ],
)
def test_unknown_names_in_the_config(key, value, sentence):
    cfg = load_config(str(ROOT / "configs/scenes/demo.yaml"), [key, value])
    with pytest.raises(UserError, match=rf"{key}.*'{value}'.*{sentence}"):
        build_model(cfg)


OFFICIAL = """
MODEL: {META_ARCHITECTURE: MaskFormer, MASK_FORMER: {NHEADS: 4, PRE_NORM: True}}
DATASETS: {TRAIN: [coco_2017_train_panoptic]}
"""


def test_the_log_has_what_was_translated_from_an_official_config(config_file, tmp_path):
    options = ["OUTPUT_DIR", str(tmp_path), "MODEL.DEVICE", "cpu"]
    options += ["MODEL.WEIGHTS", str(ROOT / "demo/psformer_scenes.pth")]
    options += ["DATASETS.TEST", "('coco_2017_val_panoptic',)"]
    path = config_file(OFFICIAL)
    args = argparse.Namespace(config_file=path, opts=options, eval_only=True, resume=False)
    assert setup(args).MODEL.TRANSFORMER_DECODER.HEADS == 4
    log = (tmp_path / "log.txt").read_text()
    assert "is a config of the official MaskFormer" in log
    assert "without what does not exist here: MODEL.MASK_FORMER.PRE_NORM True." in log

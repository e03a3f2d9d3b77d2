"""Counts against products worked out by hand and the documented figures; the command's tables."""

import json
from pathlib import Path

import analyze_model
import pytest
from tiny_model import write_tiny_model
from torch import nn

from d2_psformer import model_zoo
from d2_psformer.engine.analysis import analyze, read_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    config, _ = write_tiny_model(tmp_path_factory.mktemp("analysis"), "scenes_train")
    return config


def run(capsys, *arguments) -> str:
    analyze_model.main([str(a) for a in arguments])
    return capsys.readouterr().out


def test_one_model(tiny, capsys, tmp_path):
    file = tmp_path / "one.json"
    text = run(capsys, "--config-file", tiny, "--input", "64x96", "--time", 1, "--json", file)
    whole, *parts = json.loads(file.read_text())["rows"]
    top = [row for row in parts if "." not in row["part"]]
    assert {row["part"] for row in top} >= {"backbone", "pixel_decoder"}
    for key in ("parameters", "trainable"):
        assert sum(row[key] for row in top) == whole[key]
    assert 0 <= whole["flops"] - sum(row["flops"] for row in top) < 0.2 * whole["flops"]
    assert 0 < sum(row["seconds"] or 0 for row in top) < whole["seconds"]
    assert "pixel_decoder.layers" in text


def test_a_list_of_modules_has_what_its_members_have(tiny):
    analysis = analyze(read_config(str(tiny)), (64, 96))
    lists = [n for n, m in analysis.model.named_modules() if isinstance(m, nn.ModuleList)]
    assert "pixel_decoder.layers" in lists
    for name in lists:
        members = [v for key, v in analysis.flops.items() if key.rpartition(".")[0] == name]
        assert analysis.flops[name] == sum(members)


def test_encoder_by_hand(tiny):
    """One layer of 16 channels, 2 heads, 3 levels, 4 points: products and sampling."""
    analysis = analyze(read_config(str(tiny)), (64, 96))
    cells, dim, samples, ffn = 8 * 12 + 4 * 6 + 2 * 3, 16, 2 * 3 * 4, 16
    projections = 2 * cells * dim * dim + cells * dim * 3 * samples
    sampling = 5 * cells * samples * (dim // 2)
    assert analysis.flops["pixel_decoder.layers"] == (
        projections + sampling + 2 * cells * dim * ffn
    )


def test_depth_and_settings(tiny, capsys):
    arguments = ["--config-file", tiny, "--depth", 1]
    text = run(capsys, *arguments, "MODEL.BACKBONE.TIMM_NAME", "resnet18")
    assert "pixel_decoder" in text and "pixel_decoder.layers" not in text
    assert text.split("backbone ")[1].split("|")[1].strip() == "11.18"


def test_all_models(tiny, capsys, tmp_path, monkeypatch):
    (tmp_path / "_base_").mkdir()
    (tmp_path / "few").mkdir()
    (tmp_path / "_base_" / "tiny.yaml").write_text(tiny.read_text())
    (tmp_path / "few" / "a.yaml").write_text("_BASE_: ../_base_/tiny.yaml\nSEED: 7")
    (tmp_path / "few" / "b.yaml").write_text("_BASE_: a.yaml\nDATASETS: {TRAIN: [nowhere]}")
    monkeypatch.setattr(model_zoo, "_CONFIGS", tmp_path)
    text = run(capsys, "--all", "--input", "64x64", "--json", tmp_path / "all.json")
    rows = json.loads((tmp_path / "all.json").read_text())["rows"]
    assert [row["config"] for row in rows] == ["few/a"]
    assert "few/b is left out: Data set 'nowhere'" in text


def test_figures_of_the_r50_config():
    """The encoder is worked out by hand; the rest must not change unseen."""
    config = str(ROOT / "configs" / "coco" / "psformer_R50_2x.yaml")
    analysis = analyze(read_config(config), (800, 1200))
    assert analysis.row()["flops"] / 1e9 == pytest.approx(223, rel=0.01)
    assert analysis.row("backbone")["flops"] / 1e9 == pytest.approx(78.4, rel=0.001)
    cells = 100 * 150 + 50 * 75 + 25 * 38 + 13 * 19
    products = cells * 256 * (2 * 1024 + 2 * 256 + 3 * 8 * 4 * 4)
    sampling = 5 * cells * 8 * 4 * 4 * 32
    assert analysis.flops["pixel_decoder.layers"] == 6 * (products + sampling)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config-file", "x.yaml", "--input", "800"], "'800' is not HxW"),
        (["--all", "--time", "1"], "--time is for one"),
    ],
)
def test_wrong_arguments(capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        analyze_model.main(arguments)
    assert sentence in capsys.readouterr().err


def test_a_missing_config_ends_in_one_sentence():
    with pytest.raises(SystemExit, match=r"'none\.yaml' does not exist"):
        analyze_model.main(["--config-file", "none.yaml"])

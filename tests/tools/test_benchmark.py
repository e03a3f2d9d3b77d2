"""Every benchmark runs on something small, and its figures belong together."""

import json
import subprocess
import sys
from pathlib import Path

import benchmark
import pytest
import torch
from benchmarks import axial, merging, model, model_driver, op, peers, pq
from benchmarks.timing import peak_memory, take_turns
from tiny_model import write_tiny_model

from d2_psformer.modeling.backbone.max_deeplab_network import Network
from d2_psformer.utils.errors import UserError

TOOLS = Path(__file__).parents[2] / "tools"
TINY_PEER = {
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 16,
    "dim_feedforward": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "num_queries": 40,
}


def run(capsys, *arguments) -> str:
    benchmark.main([str(a) for a in arguments])
    return capsys.readouterr().out


@pytest.mark.parametrize("tool", ["benchmark", "analyze_model", "ablate", "gpu_check"])
def test_help_is_quick_and_has_examples(tool):
    """Nothing that takes long to import is needed for it."""
    command = [sys.executable, "-X", "importtime", str(TOOLS / f"{tool}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "timm", "scipy", "numpy", "matplotlib", "d2_psformer"}


def test_op(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(op.CASES, "decoder", ([(8, 12), (4, 6)], 5))
    file = tmp_path / "op.json"
    text = run(capsys, "op", "--cases", "decoder", "--rounds", 1, "--json", file)
    content = json.loads(file.read_text())
    assert "PyTorch" in content["machine"] and content["machine"] in text
    rows = content["results"]
    assert {row["implementation"] for row in rows} >= {"grid_sample"}
    assert {(row["pass"], row["dtype"]) for row in rows} == {
        (one, dtype) for one in ("forward", "forward+backward") for dtype in op.DTYPES
    }
    for row in rows:
        base = next(r for r in rows if r["pass"] == row["pass"])
        assert base["implementation"] == "grid_sample"
        assert row["times faster"] == pytest.approx(base["median ms"] / row["median ms"])
        assert row["min ms"] <= row["median ms"]


def test_implementations_of_the_operator_agree():
    outputs = {}
    for name in op._available("cpu"):
        outputs[name] = op.build("decoder", False, "cpu", name, "float32")()
    expected = outputs.pop("grid_sample")
    for name, found in outputs.items():
        assert (found - expected).abs().max() < 1e-4, name


@pytest.fixture
def tiny_config(tmp_path):
    config, _ = write_tiny_model(tmp_path, "scenes_train")
    return config


@pytest.mark.slow
def test_model_against_another_checkout(tiny_config, capsys, tmp_path):
    """The other checkout here is a link to this one."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "d2_psformer").symlink_to(TOOLS.parent / "d2_psformer")
    file = tmp_path / "model.json"
    arguments = ["--config-file", tiny_config, "--against", tmp_path / "other", "--no-peer"]
    arguments += ["--tasks", "inference", "--sizes", "64x96", "--dtypes", "bfloat16"]
    run(capsys, "model", *arguments, "--rounds", 1, "--json", file)
    first, second = json.loads(file.read_text())["results"]
    assert (first["side"], second["side"]) == (model.AGAINST, model.HERE)
    assert first["times the first"] == first["times its memory"] == 1
    ratio = second["median ms"] / first["median ms"]
    assert second["times the first"] == pytest.approx(ratio)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_step_of_the_model(tiny_config, dtype):
    spec = {"what": "training", "size": (64, 96), "dtype": dtype, "device": "cpu", "opts": []}
    step = model_driver.build({**spec, "config": str(tiny_config), "is_peer": False})
    assert step()["total_loss"] != step()["total_loss"]  # the weights have changed


def test_settings_of_a_side_follow_the_type():
    options = benchmark.parse_args(["model", "--opts", "A.B {dtype} C 'x y'", "--no-peer"])
    ((_, settings),) = model._sides(options, "bfloat16").values()
    assert settings == ["A.B", "bfloat16", "C", "x y"]


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    spec = {"config": "any.yaml", "threads": 1, "device": "cpu", "is_peer": False}
    with pytest.raises(UserError, match=r"ended: '.*' is no checkout of this project"):
        model.Side(tmp_path, spec)


@pytest.mark.parametrize(
    "what, architecture, settings",
    [
        ("inference", "Mask2Former", TINY_PEER),
        ("inference", "MaskFormer", {}),
        ("training", "Mask2Former", TINY_PEER),
        ("inference", "EoMT", {"num_queries": 40}),
        ("training", "EoMT", {}),
    ],
)
def test_the_peer(tiny_config, what, architecture, settings):
    spec = {"what": what, "device": "cpu", "config": str(tiny_config), "is_peer": True}
    opts = ["MODEL.META_ARCHITECTURE", architecture, "MODEL.VIT.IMAGE_SIZE", 64]
    opts += ["MODEL.BACKBONE.TIMM_NAME", "test_vit"] if architecture == "EoMT" else []
    spec |= {"opts": opts, "peer_settings": settings}
    call = model_driver.build({**spec, "size": (64, 64), "dtype": "bfloat16"})
    result = call()
    if what == "inference":
        assert result[0]["segmentation"].shape == (64, 64)
    else:
        assert call() != result  # the weights have changed


def test_a_picture_shows_all_segments():
    _, masks = model_driver.picture(64, 96)
    assert len(masks) == model_driver.STUFF + model_driver.THINGS == 30
    assert masks.flatten(1).any(1).all() and (masks.sum(0) == 1).all()


def test_some_queries_are_sure():
    classifier = torch.nn.Linear(3, peers.THINGS + peers.STUFF + 1)
    model_driver.be_sure(classifier)
    scores, classes = classifier(torch.randn(2, 100, 3)).softmax(-1).max(-1)
    kept = classes < 133
    assert (scores > peers.THRESHOLD).all()
    assert kept.sum(1).tolist() == [model_driver.KEPT] * 2
    assert len(classes[0][kept[0]].unique()) == model_driver.KEPT
    assert 0 < (classes[kept] < peers.THINGS).sum() < kept.sum()


def test_axial(capsys, monkeypatch, tmp_path):
    small = Network(stem_width=0.125, width=0.0625, transformer_width=16, memory_dim=16)
    monkeypatch.setattr(axial, "NETWORK", small)
    file = tmp_path / "axial.json"
    run(capsys, "axial", "--size", 33, "--rounds", 1, "--json", file)
    rows = json.loads(file.read_text())["results"]
    assert [row["implementation"] for row in rows] == ["formula", "ours"] * 4
    calls = axial.build("layer of stage 5", False, 65, "cpu")
    torch.testing.assert_close(calls["ours"](), calls["formula"]())


def test_merging(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(merging, "SCENES", {"few": (3, 2, 2)})
    monkeypatch.setattr(merging, "KEPT", {"few": (3, 2)})
    monkeypatch.setattr(merging, "CANVAS", (64, 96))
    monkeypatch.setattr(merging, "IMAGE", (60, 90))
    file = tmp_path / "merging.json"
    run(capsys, "merging", "--sizes", "60x90", "--rounds", 1, "--json", file)
    rows = json.loads(file.read_text())["results"]
    assert [row["merging"] for row in rows] == ["mask-wise"] * 2 + ["mask2former"] * 2
    for plain, ours in (rows[:2], rows[2:]):
        assert plain["segments"] == ours["segments"] == 5
        assert ours["times faster"] == pytest.approx(plain["median ms"] / ours["median ms"])


def test_merging_that_differs_is_refused(monkeypatch):
    monkeypatch.setattr(merging, "ours", lambda *inputs: torch.zeros(inputs[-1]))
    with pytest.raises(ValueError, match="The maps of 'few segments' differ"):
        merging.measure(benchmark.parse_args(["merging", "--sizes", "60x90"]))


def test_pq(capsys, tmp_path):
    file = tmp_path / "pq.json"
    run(capsys, "pq", "--images", 3, "--size", 96, "--rounds", 1, "--json", file)
    rows = json.loads(file.read_text())["results"]
    assert rows[0]["evaluator"] == "ours" and 0 < rows[0]["PQ"] < 100
    of_files = [row for row in rows if row["evaluator"].startswith("files")]
    assert of_files[0]["evaluator"] == "files, ours"
    assert all(row["PQ"] == pytest.approx(rows[0]["PQ"], abs=0.06) for row in of_files)
    with pytest.raises(ValueError, match=r"PQ is 50\.0 by ours and 50\.1 by theirs"):
        pq.check_equal({"ours": 50.0, "theirs": 50.1})


def test_ap(capsys, tmp_path):
    """Packages that differ in any figure would be an error."""
    file = tmp_path / "ap.json"
    run(capsys, "ap", "--images", 4, "--size", 96, "--rounds", 1, "--json", file)
    rows = json.loads(file.read_text())["results"]
    assert rows[0]["AP of boxes and masks by"] == "pycocotools" and 0 < rows[0]["mask AP"] < 100


def test_png(capsys, tmp_path):
    """Most bits of a PNG matter, so that its decoder meets many damaged files."""
    file = tmp_path / "png.json"
    run(capsys, "png", "--images", 1, "--size", 96, "--rounds", 1, "--json", file)
    rows = {row["decoder"]: row for row in json.loads(file.read_text())["results"]}
    assert {"ours, to ids", "Pillow", "OpenCV"} <= rows.keys()
    assert rows["ours, to ids"]["% of damage unseen"] < 20
    assert rows["OpenCV"]["% of damage unseen"] > 50


def test_loader(capsys, tmp_path):
    file = tmp_path / "loader.json"
    arguments = ["--images", 4, "--size", 96, "--workers", 0, 1, "--rounds", 1, "--json", file]
    run(capsys, "loader", *arguments)
    rows = json.loads(file.read_text())["results"]
    assert [row["workers"] for row in rows] == [0, 1]
    for row in rows:
        assert row["images a second"] == pytest.approx(1e3 / row["median ms per image"])


def test_calls_take_turns():
    seen = []
    take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2)
    assert "".join(seen) == "aabb" * 2  # every turn begins with a call that is not counted


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory():
    found = peak_memory(lambda: bytearray(64 * 2**20).count(0))
    assert 60 * 2**20 < found < 80 * 2**20


def test_sizes(capsys):
    assert benchmark.size_of("480x640") == (480, 640)
    with pytest.raises(SystemExit):
        benchmark.parse_args(["model", "--sizes", "480"])
    assert "'480' is not HxW" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rounds", "--images", "--size"])
@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_numbers_below_one_are_refused(capsys, option, number):
    with pytest.raises(SystemExit):
        benchmark.parse_args(["pq", option, number])
    assert f"'{number}' is no number: give 1 or more" in capsys.readouterr().err

"""Counts against formulas worked out by hand, fvcore and the official code's numbers."""

import importlib.util
import json
from pathlib import Path
from unittest import mock

import pytest
import torch
from analysis.counting import count
from analysis.models import analyze, read_config
from analysis.published import PUBLISHED
from analysis.tables import part_rows, summary_row
from fvcore.nn import FlopCountAnalysis
from tiny_model import write_tiny_model
from torch import nn

from d2_psformer.layers import MultiScaleDeformableAttention
from d2_psformer.modeling.backbone import TimmBackbone
from d2_psformer.modeling.pixel_decoder import Memory
from d2_psformer.modeling.transformer_decoder import MaskDecoder
from d2_psformer.modeling.transformer_decoder.mask_attention import MaskAttention
from d2_psformer.ops import backends, ms_deform_attn

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("analyze_model", ROOT / "tools" / "analyze_model.py")
analyze_model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(analyze_model)

SHAPES = ((8, 12), (4, 6), (2, 3))
CELLS = 96 + 24 + 6
DIM, HEADS, POINTS = 32, 4, 2


@pytest.fixture
def on_meta():
    with torch.device("meta"):
        yield


@pytest.mark.usefixtures("on_meta")
class TestByHand:
    def test_convolution_linear_and_norm(self):
        model = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Flatten(2),
            nn.Linear(30, 7),
        )
        counts = count(model, torch.zeros(3, 4, 10, 12))
        convolution = 3 * 8 * 30 * (2 * 9)
        norm = 5 * 3 * 8 * 30
        linear = 3 * 8 * 30 * 7
        assert counts.flops == {
            ("0", "convolution"): convolution,
            ("1", "norm"): norm,
            ("4", "linear"): linear,
        }
        assert counts.flops_of() == convolution + norm + linear
        assert counts.activations == {"0": 3 * 8 * 30, "4": 3 * 8 * 7}
        assert not counts.uncounted

    def test_deformable_attention(self):
        model = MultiScaleDeformableAttention(DIM, HEADS, len(SHAPES), POINTS).eval()
        reference = torch.zeros(2, 5, len(SHAPES), 4)
        inputs = torch.zeros(2, 5, DIM), reference, torch.zeros(2, CELLS, DIM), SHAPES
        counts = count(model, *inputs)
        samples = 2 * 5 * HEADS * len(SHAPES) * POINTS
        queries = 5 * 2 * (3 * HEADS * len(SHAPES) * POINTS) * DIM  # offsets and weights
        projections = 2 * (CELLS + 5) * DIM * DIM  # of values and of the output
        kinds = counts.flops_by_kind()
        assert kinds["linear"] == queries + projections
        # four corners and a weight, for every channel of a head
        assert kinds["deformable attention"] == samples * (DIM // HEADS) * (4 + 1)

    def test_the_classic_operator_counts_alike(self):
        points = 2, 5, HEADS, len(SHAPES), POINTS

        class Classic(nn.Module):
            def forward(self, value, locations, weights):
                return ms_deform_attn(value, SHAPES, locations, weights)

        value = torch.zeros(2, CELLS, HEADS, DIM // HEADS)
        counts = count(Classic(), value, torch.zeros(*points, 2), torch.zeros(points))
        expected = 2 * 5 * HEADS * len(SHAPES) * POINTS * (DIM // HEADS) * 5
        assert counts.flops == {("", "deformable attention"): expected}

    @pytest.mark.parametrize("device", ["meta", "cpu"])
    def test_fused_attention(self, device):
        """Taken apart on one device, one operator on the other."""
        with torch.device(device):
            model = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
            query, memory = torch.zeros(2, 5, DIM), torch.zeros(2, 9, DIM)
            counts = count(model, query, memory, memory, None, False)
        kinds = counts.flops_by_kind()
        projections = 2 * (2 * 5 + 2 * 9) * DIM * DIM
        products = 2 * 2 * 5 * 9 * DIM
        assert kinds["linear"] == projections
        assert kinds["matmul"] + kinds["attention"] == products

    def test_mask_decoder(self):
        blocks, queries, ffn = 2, 7, 4 * DIM
        model = MaskDecoder(
            dim=DIM, num_heads=HEADS, num_layers=blocks, num_levels=3, self_attention=True
        )
        memory = Memory(torch.zeros(1, CELLS, DIM), SHAPES, None, torch.ones(1, 3, 2))
        counts = count(model.eval(), torch.zeros(1, queries, DIM), memory, None, False)
        product = queries * CELLS * DIM  # queries by keys, or weights by values
        own = 4 * queries * DIM * DIM + 2 * queries * queries * DIM  # self-attention
        cross = 2 * (queries + CELLS) * DIM * DIM + 2 * product
        tail = (queries + CELLS) * DIM * DIM + product
        # eight by eight for every cell and query, then to one channel
        fuse = queries * CELLS * (HEADS * HEADS + HEADS)
        kinds = counts.flops_by_kind()
        products = blocks * (own + cross + 2 * queries * DIM * ffn) + tail + fuse
        assert kinds["linear"] + kinds["matmul"] == products
        assert kinds["resize"] == 4 * 2 * queries * SHAPES[0][0] * SHAPES[0][1]
        assert kinds["norm"] == 5 * 3 * blocks * queries * DIM

    def test_what_is_not_counted_is_told(self):
        class Waves(nn.Module):
            def forward(self, x):
                return (x.sin() * 2).relu().flatten()

        counts = count(Waves(), torch.zeros(3, 4))
        assert not counts.flops
        assert counts.uncounted == {"sin": 12, "mul": 12}


def fused_attention(inputs, outputs) -> float:
    query, key, value = (x.type().sizes() for x in inputs[:3])
    batch_and_heads = query[0] * query[1]
    return batch_and_heads * query[2] * key[2] * (query[3] + value[3])


def by_fvcore(model: nn.Module, *inputs) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(model.eval(), inputs)
    analysis.set_op_handle("aten::scaled_dot_product_attention", fused_attention)
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)


@pytest.mark.parametrize(
    "name", ["resnet10t", "pvt_v2_b0", "pvt_v2_b2_li", "swin_tiny_patch4_window7_224"]
)
def test_backbones_as_fvcore_counts_them(name):
    model = TimmBackbone(name=name, out_features=["res3", "res4", "res5"]).eval()
    image = torch.zeros(1, 3, 75, 101)
    theirs = by_fvcore(model, image)
    assert count(model, image).flops_of() == theirs.total()


class Decoders(nn.Module):
    """A whole model but for its inference, in tensors."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, image):
        memory = self.model.pixel_decoder(self.model.backbone(image), None)
        stuff = self.model.stuff_decoder(memory, every_mask=False)
        locations = self.model.location_decoder(memory)
        return locations.boxes, locations.logits, stuff.masks[-1], stuff.logits


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    config, _ = write_tiny_model(folder, "scenes_train")
    return config


def test_decoders_as_fvcore_counts_them(tiny):
    """fvcore sees deformable attention as grid_sample, whose results it does not weigh."""
    from d2_psformer.d2.modeling import build_model

    model = Decoders(build_model(read_config(str(tiny), []))).eval()
    image = torch.zeros(1, 3, 64, 96)
    ours = count(model, image)
    with (
        mock.patch.object(backends, "default", lambda device_type: "pytorch"),
        mock.patch.object(MaskAttention, "_are_few", lambda *_: False),
    ):
        theirs = by_fvcore(model, image)
        sampled = theirs.by_operator()["grid_sampler"]
    deformable = ours.flops_by_kind()["deformable attention"]
    assert deformable == sampled * 5 / 4
    # products of batches of matrices that fvcore does not know
    unknown = theirs.unsupported_ops()["aten::baddbmm"]
    assert unknown == 3
    fuse = 2 * 2 * 5 * (8 * 12 + 4 * 6 + 2 * 3)  # heads x heads, stuff classes, cells
    assert ours.flops_of() - deformable - fuse == theirs.total() - sampled


@pytest.mark.parametrize("name", [n for n in PUBLISHED if PUBLISHED[n].exact and "1x" not in n])
def test_parameters_are_the_official_ones_less_what_learns_nothing(name):
    cfg = read_config(str(ROOT / "configs" / f"{name}.yaml"), [])
    row = summary_row([name], analyze(cfg, (64, 64)))
    assert row["equal less unused"]
    if "PVTv2-B0" not in name and "PVTv2-B2" not in name:  # see docs/models.md
        assert round(row["official trainable"] / 1e6, 1) == row["published parameters, M"]


@pytest.mark.parametrize("name", [name for name in PUBLISHED if PUBLISHED[name].gflops])
def test_flops_are_near_the_published_ones(name):
    """At 800x1280, without the products inside of PVT's attention, which the papers leave out."""
    file = ROOT / "configs" / f"{name}.yaml"
    if not file.exists():
        pytest.skip(f"there is no {file.name}")
    counts = analyze(read_config(str(file), []), (800, 1280)).counts
    flops = counts.flops_of() - counts.flops_by_kind("backbone")["matmul"]
    assert flops / 1e9 == pytest.approx(PUBLISHED[name].gflops, rel=0.05)


@pytest.mark.parametrize("name", ["coco/psformer_R50_2x", "coco/psformer_light", "scenes/demo"])
def test_documented_figures(name):
    """Else: tools/analyze_model.py --all --markdown gives the tables of docs/models.md anew."""
    cfg = read_config(str(ROOT / "configs" / f"{name}.yaml"), [])
    row = summary_row([name], analyze(cfg, (800, 1200)))
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    rows = [[c.strip() for c in line.split("|")] for line in lines if line.startswith("|")]
    parameters, flops = (cells for cells in rows if name in cells[1].split(", "))
    assert parameters[2:4] == [f"{row[key] / 1e6:.2f}" for key in ("parameters", "trainable")]
    assert flops[3:5] == [f"{row[key] / 1e9:.1f}" for key in ("flops", "flops of the backbone")]


def run(capsys, *arguments) -> str:
    analyze_model.main([str(a) for a in arguments])
    return capsys.readouterr().out


def test_one_model(tiny, capsys, tmp_path):
    file = tmp_path / "one.json"
    text = run(capsys, "--config-file", tiny, "--input", "64x96", "--time", 1, "--json", file)
    content = json.loads(file.read_text())
    whole, *parts = content["parts"]
    assert whole["part"] == "" and whole["flops"] == sum(content["flops by kind"].values())
    top = [row for row in parts if "." not in row["part"]]
    assert {row["part"] for row in top} >= {"backbone", "pixel_decoder", "stuff_decoder"}
    assert sum(row["parameters"] for row in top) == whole["parameters"]
    assert 0 <= whole["flops"] - sum(row["flops"] for row in top) < 0.2 * whole["flops"]
    assert 0 < sum(row["seconds"] for row in top) < whole["seconds"]
    assert "Not counted" in text and content["not counted"]
    assert "pixel_decoder.input_projection" in text


def test_depth_and_settings(tiny, capsys):
    text = run(capsys, "--config-file", tiny, "--depth", 1, "MODEL.PSFORMER.ENCODER_LAYERS", 2)
    assert "pixel_decoder" in text and "pixel_decoder.layers" not in text


def test_many_models(tiny, capsys, tmp_path, monkeypatch):
    """Configs of one model share a row; what cannot be built is told."""
    text = tiny.read_text()
    (tmp_path / "Base-tiny.yaml").write_text(text)
    (tmp_path / "a.yaml").write_text("_BASE_: Base-tiny.yaml\nSOLVER: {MAX_ITER: 7}")
    (tmp_path / "b.yaml").write_text("_BASE_: Base-tiny.yaml\nSOLVER: {MAX_ITER: 9}")
    (tmp_path / "c.yaml").write_text("_BASE_: a.yaml\nMODEL: {PSFORMER: {NUM_QUERIES: 6}}")
    (tmp_path / "d.yaml").write_text("_BASE_: a.yaml\nDATASETS: {TRAIN: [nowhere]}")
    monkeypatch.setattr(analyze_model, "CONFIGS", tmp_path)
    text = run(capsys, "--all", "--markdown", "--input", "64x64", "--json", tmp_path / "all.json")
    models = json.loads((tmp_path / "all.json").read_text())["models"]
    assert [row["configs"] for row in models] == [["a", "b"], ["c"]]
    assert text.count("| a, b ") == 2
    assert "Left out, d: Data set 'nowhere' has no panoptic metadata" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--input", "800"], "'800' is no size"),
        (["--time", "1", "--config-file", "other.yaml"], "--time is for one"),
        (["--depth", "-1"], "must be 0 or more"),
    ],
)
def test_wrong_arguments_are_told(tiny, capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        analyze_model.main(["--config-file", str(tiny), *arguments])
    assert sentence in capsys.readouterr().err


def test_a_missing_config_is_told():
    with pytest.raises(SystemExit, match=r"'none\.yaml' does not exist"):
        analyze_model.main(["--config-file", "none.yaml"])


def test_rows_of_a_part_hold_those_inside(tiny):
    analysis = analyze(read_config(str(tiny), []), (64, 64))
    rows = {row["part"]: row for row in part_rows(analysis, depth=9)}
    inside = [row for name, row in rows.items() if name.startswith("pixel_decoder.layers.0.ffn.")]
    whole = rows["pixel_decoder.layers.0.ffn"]
    assert whole["flops"] == sum(row["flops"] for row in inside) > 0

"""Names of official checkpoints, older releases included, and the command that converts a file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from d2_psformer.checkpoint import convert_official
from d2_psformer.checkpoint.official import rename
from d2_psformer.cli.main import main
from d2_psformer.engine import class_metadata, load_config

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "convert_checkpoint.py"

# official name: ours; one of each rule
NAMES = {
    "backbone.layer1.0.conv1.weight": "backbone.body.layer1.0.conv1.weight",
    "neck.convs.2.conv.weight": "pixel_decoder.input_projection.projections.2.0.weight",
    "neck.extra_convs.0.gn.bias": "pixel_decoder.input_projection.extra.0.1.bias",
    "bbox_head.transformer.level_embeds": "pixel_decoder.level_embed",
    "bbox_head.transformer.encoder.layers.3.attentions.0.sampling_offsets.bias": (
        "pixel_decoder.layers.3.self_attn.sampling_offsets.bias"
    ),
    "bbox_head.transformer.encoder.layers.5.ffns.0.layers.0.0.weight": (
        "pixel_decoder.layers.5.ffn.linear1.weight"
    ),
    "bbox_head.transformer.encoder.layers.5.norms.1.bias": "pixel_decoder.layers.5.ffn.norm.bias",
    "bbox_head.transformer.decoder.layers.0.attentions.0.attn.in_proj_weight": (
        "location_decoder.layers.0.self_attn.in_proj_weight"
    ),
    "bbox_head.transformer.decoder.layers.0.attentions.1.value_proj.bias": (
        "location_decoder.layers.0.cross_attn.value_proj.bias"
    ),
    "bbox_head.transformer.decoder.layers.0.norms.1.bias": "location_decoder.layers.0.norm2.bias",
    "bbox_head.transformer.reference_points.weight": "location_decoder.reference_points.weight",
    "bbox_head.query_embedding.weight": "location_decoder.query_embed.weight",
    "bbox_head.cls_branches.4.bias": "location_decoder.class_embed.4.bias",
    "bbox_head.reg_branches.4.2.weight": "location_decoder.box_embed.4.layers.1.weight",
    "bbox_head.things_mask_head.blocks.1.attn.q.weight": (
        "thing_mask_decoder.blocks.1.cross_attn.q_proj.weight"
    ),
    "bbox_head.things_mask_head.blocks.1.attn.linear_l3.0.weight": (
        "thing_mask_decoder.blocks.1.cross_attn.level_fc.2.weight"
    ),
    "bbox_head.things_mask_head.attnen.linear.0.bias": (
        "thing_mask_decoder.final_attention.mask_fc.bias"
    ),
    "bbox_head.stuff_mask_head.blocks.5.self_attention.qkv.weight": (
        "stuff_decoder.mask_decoder.blocks.5.self_attn.in_proj_weight"
    ),
    "bbox_head.stuff_mask_head.blocks.5.self_attention.proj.bias": (
        "stuff_decoder.mask_decoder.blocks.5.self_attn.out_proj.bias"
    ),
    "bbox_head.stuff_mask_head.blocks.5.norm3.weight": (
        "stuff_decoder.mask_decoder.blocks.5.self_norm.weight"
    ),
    "bbox_head.stuff_query.weight": "stuff_decoder.query_embed.weight",
    "bbox_head.cls_stuff_branches.5.weight": "stuff_decoder.class_embed.5.weight",
    # never trained and never used there
    "bbox_head.reg_branches2.0.0.weight": None,
    "bbox_head.cls_thing_branches.3.bias": None,
}


@pytest.mark.parametrize("official", NAMES)
def test_names(official):
    assert rename(official, {}) == NAMES[official]
    assert rename(f"module.{official}", {}) == NAMES[official], "saved by a parallel wrapper"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (".mask_head.blocks.0.attn.k.bias", ".things_mask_head.blocks.0.attn.k.bias"),
        (".mask_head2.attnen.q.weight", ".stuff_mask_head.attnen.q.weight"),
        (".cls_branches2.1.weight", ".cls_thing_branches.1.weight"),
    ],
)
def test_older_releases(older, newer):
    assert rename(f"bbox_head{older}", {}) == rename(f"bbox_head{newer}", {})


@pytest.mark.parametrize("name", ["bbox_head.fc_cls.weight", "roi_head.bbox_head.fc.weight", "x"])
def test_a_name_of_another_model_is_told(name):
    with pytest.raises(ValueError, match=rf"'{name}' is no parameter of an official Panoptic"):
        convert_official({name: torch.ones(1)})


@pytest.fixture
def released(tmp_path):
    """A file in the form of a release: wrapped, with metadata, some names of an older one."""
    weights = {
        "backbone.conv1.weight": torch.ones(4, 3, 7, 7),
        "bbox_head.mask_head.attnen.q.weight": torch.full((8, 8), 2.0),
        "bbox_head.cls_branches2.0.bias": torch.zeros(3),
    }
    path = tmp_path / "released.pth"
    torch.save({"meta": {"epoch": 24, "CLASSES": ["person"]}, "state_dict": weights}, path)
    return path


def test_command_writes_a_checkpoint_for_model_weights(released, tmp_path):
    command = [
        sys.executable,
        TOOL,
        "--source",
        "official",
        released,
        tmp_path / "new" / "ours.pth",
    ]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "2 tensors" in run.stdout
    content = torch.load(tmp_path / "new" / "ours.pth", weights_only=True)
    assert list(content) == ["model"]
    assert set(content["model"]) == {
        "backbone.body.conv1.weight",
        "thing_mask_decoder.final_attention.q_proj.weight",
    }
    assert (content["model"]["thing_mask_decoder.final_attention.q_proj.weight"] == 2).all()
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["ours.pth", "released.pth"]


@pytest.fixture
def command():
    """The command in this process: arguments -> what it says on exit."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            main(["convert-weights", *map(str, arguments)])
        return exit_info.value.code

    return run


def test_the_config_can_be_stored_with_the_weights(released, tmp_path):
    files = [str(released), str(tmp_path / "ours.pth")]
    assert main(["convert-weights", "--config", "coco/psformer_R50_2x", *files]) == 0
    cfg = load_config(files[1])
    assert cfg.SOLVER == load_config("coco/psformer_R50_2x").SOLVER
    assert files[1] == cfg.MODEL.WEIGHTS
    stored = torch.load(files[1], weights_only=True)["metadata"]
    assert stored == class_metadata("coco_2017_train_panoptic"), "the config's data set"


@pytest.mark.parametrize(
    ("source", "target", "sentence"),
    [
        ("nothing.pth", "ours.pth", "does not exist"),
        ("other.pth", "ours.pth", "'roi_head.fc.weight' is no parameter"),
    ],
)
def test_command_fails_with_one_sentence_and_writes_nothing(
    source, target, sentence, command, released, tmp_path
):
    torch.save({"roi_head.fc.weight": torch.ones(1)}, tmp_path / "other.pth")
    said = command(tmp_path / source, tmp_path / target)
    assert sentence in said.split("\n")[0]
    assert not (tmp_path / "ours.pth").exists()


def test_command_has_help(command, capsys):
    assert command("--help") == 0
    shown = capsys.readouterr().out
    assert "--source" in shown and "--trust" in shown

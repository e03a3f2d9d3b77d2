"""Released checkpoints with wrong names, shapes and types, by every source; files of TensorFlow."""

import io
import random
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from attack_cases import cases
from attack_files import damaged
from attack_values import one_sentence
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.checkpoint import CONVERTERS, convert, read_checkpoint
from d2_psformer.cli.main import main

SMALL = Path(__file__).parents[1] / "checkpoint" / "deeplab2" / "small.index"
_PIXELS = "sem_seg_head.pixel_decoder"
_PREDICTOR = "sem_seg_head.predictor"
_ENCODER = f"{_PIXELS}.transformer.encoder.layers.0"
_HF_PIXELS, _HF = "model.pixel_level_module", "model.transformer_module"
# Names of each source, with one or more of the rules that its converter has.
NAMES = {
    "official": (
        *(
            "bbox_head.query_embedding.weight",
            "bbox_head.cls_branches.0.weight",
            "neck.convs.0.gn.bias",
        ),
        *(
            "backbone.layer1.0.conv1.weight",
            "bbox_head.reg_branches.0.2.weight",
            "backbone.fc.bias",
        ),
        *("bbox_head.things_mask_head.blocks.0.attn.q.weight", "bbox_head.cls_branches2.0.bias"),
    ),
    "maskformer": (
        *(f"{_PREDICTOR}.transformer.decoder.norm.weight", f"{_PREDICTOR}.query_embed.weight"),
        *(
            "backbone.res2.0.conv1.weight",
            "backbone.stem.conv1.weight",
            f"{_PIXELS}.layer_4.weight",
        ),
        *(
            f"{_PREDICTOR}.weight",
            "criterion.empty_weight",
            "backbone.res2.0.conv1.norm.running_var",
        ),
    ),
    "mask2former": (
        *(f"{_PREDICTOR}.decoder_norm.weight", f"{_ENCODER}.self_attn.sampling_offsets.weight"),
        *(f"{_ENCODER}.self_attn.attention_weights.bias", f"{_PIXELS}.transformer.level_embed"),
        *(f"{_PREDICTOR}.static_query.weight", "backbone.layers.0.downsample.reduction.weight"),
    ),
    "hf-maskformer": (
        *("mask_embedder.0.0.weight", "class_predictor.weight", f"{_HF}.queries_embedder.weight"),
        *(f"{_HF}.decoder.layers.0.self_attn.{x}_proj.weight" for x in "qkv"),
        f"{_HF_PIXELS}.decoder.fpn.stem.0.weight",
    ),
    "hf-mask2former": (
        *(f"{_HF}.queries_features.weight", f"{_HF}.decoder.layers.0.fc1.weight"),
        *(f"{_HF}.decoder.layers.0.cross_attn.in_proj_weight", f"{_HF_PIXELS}.decoder.level_embed"),
        f"{_HF_PIXELS}.decoder.encoder.layers.0.self_attn.sampling_offsets.weight",
    ),
    "eomt": (
        *(f"network.{x}" for x in ("q.weight", "class_head.weight", "upscale.0.norm.weight")),
        *("network.encoder.pixel_mean", "network.encoder.backbone.blocks.0.attn.qkv.weight"),
        *(f"network.encoder.backbone.blocks.0.attention.{x}_proj.weight" for x in "qkv"),
        "network.encoder.backbone.pos_embed",
    ),
    "hf-eomt": (
        *("upscale_block.block.0.conv1.weight", "query.weight", "attn_mask_probs"),
        *(f"layers.0.attention.{x}_proj.weight" for x in "qkv"),
        "embeddings.position_embeddings.weight",
    ),
    "deeplab2": (
        *("encoder/_stage5/_block1/_conv1_bn_act/_conv/kernel", "encoder/_memory_feature"),
        *("semantic_last_layer/_final_conv/kernel", "transformer_class_head/_conv/kernel"),
        *(
            "encoder/_stem/_batch_norm/moving_variance",
            "optimizer/beta_1",
            "backbone/_encoder/_stem",
        ),
        "encoder/_stage4/_block1/_attention/_height_axis/_query_rpe/embeddings",
    ),
}
SHAPES = (
    (),
    (0,),
    (1,),
    (3,),
    (36,),
    (96,),
    (2, 3),
    (96, 4),
    (1, 2, 3),
    (3, 3, 2, 4),
    (1, 1, 1, 1, 1),
)
DTYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.bool,
    torch.uint16,
)


def changed_name(name: str, chance: random.Random) -> str:
    parts = name.replace("/", ".").split(".")
    place = chance.randrange(len(parts))
    what = chance.randrange(6)
    if what == 0:
        return name[: chance.randrange(len(name))]
    if what == 1:
        return name.replace(parts[place], chance.choice(("", "99", "9" * 400, "é")))
    if what == 2:
        return f"{name}.{chance.choice(parts)}"
    if what == 3:
        return chance.choice(chance.choice(list(NAMES.values())))
    return name


def wrong_weights(chance: random.Random, source: str) -> dict[str, torch.Tensor]:
    weights = {}
    for name in NAMES[source]:
        if chance.random() < 0.8:
            value = torch.zeros(
                chance.choice(SHAPES), dtype=chance.choice((*DTYPES[:1] * 8, *DTYPES))
            )
            weights[changed_name(name, chance) if chance.random() < 0.3 else name] = value
    return weights


def test_names_are_of_every_source():
    assert NAMES.keys() == CONVERTERS.keys()


@given(st.integers(0, 2**40), st.sampled_from(sorted(CONVERTERS)), st.booleans())
@cases(150)
def test_wrong_weights(seed, source, is_of_it):
    chance = random.Random(seed)
    weights = wrong_weights(chance, source if is_of_it else chance.choice(sorted(NAMES)))
    with one_sentence("is "):  # files are named by the command
        converted = convert(weights, source)
        assert all(isinstance(value, torch.Tensor) for value in converted.values())


@given(st.integers(0, 2**40), st.sampled_from([SMALL.name, "small.data-00000-of-00001"]))
@cases(150)
def test_damaged_files_of_tensorflow(tmp_path, seed, name):
    for other in (SMALL.name, "small.data-00000-of-00001"):
        shutil.copyfile(SMALL.with_name(other), tmp_path / other)
    path = tmp_path / name
    path.write_bytes(damaged(path.read_bytes(), seed))
    with one_sentence(tmp_path / "small"):
        for value in read_checkpoint(str(tmp_path / SMALL.name))["model"].values():
            assert value.dtype == torch.float32


def contents(folder: Path) -> dict[str, Path]:
    """Files that are no model, by what is wrong."""
    good = {"a": torch.zeros(2)}
    files = {
        "empty": b"",
        "text": b"hello\nworld",
        "page": b"<!DOCTYPE html><html>" * 9,
        "zeros": bytes(5000),
        "zip": b"PK\x05\x06" + bytes(18),
        "pickle": b"\x80\x02}.",
        "onnx": b"\x08\x0a\x12\x07pytorch",
    }
    paths = {}
    for what, content in files.items():
        paths[what] = folder / what
        paths[what].write_bytes(content)
    for what, content in {
        "weights": good,
        "number": 3,
        "config": {**good, "config": "A: ["},
    }.items():
        paths[what] = folder / what
        torch.save(content, paths[what])
    (folder / "folder").mkdir()
    return {**paths, "folder": folder / "folder", "missing": folder / "missing"}


SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors", ".index", ".index.json", ".onnx", ".yaml", "")
COMMANDS = {
    "convert": lambda path, out: ["convert-weights", path, out],
    "export": lambda path, out: ["export", path, "--output", f"{out}.safetensors"],
    "models": lambda path, out: ["models", path, "--yaml"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_files_that_are_no_model(tmp_path, command, capsys):
    for what, path in contents(tmp_path).items():
        for suffix in SUFFIXES:
            named = path.with_name(f"{what}{suffix}")
            if path.exists() and suffix:
                path.rename(named)
            stream = io.StringIO()
            with redirect_stdout(stream):
                try:
                    status = main(COMMANDS[command](str(named), str(tmp_path / "out.pth")))
                except SystemExit as end:
                    status = end.code
            said = capsys.readouterr().err
            assert "Traceback" not in said
            if not (command == "convert" and what in ("weights", "config")):
                assert status, (named, stream.getvalue())
            if named.exists() and suffix:
                named.rename(path)

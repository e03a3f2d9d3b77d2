"""Our config keys: declared once, read somewhere, refused when unknown."""

import json
import re
from pathlib import Path

import pytest

from d2_psformer import add_psformer_config
from d2_psformer.config.renamed import RENAMED
from d2_psformer.d2.config import CfgNode, get_cfg
from d2_psformer.engine import load_config
from d2_psformer.utils.errors import UserError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "d2_psformer"
PROGRAMS = [ROOT / "train_net.py", ROOT / "demo.py"]


def leaves(node: CfgNode, prefix: str = "") -> set[str]:
    """Full names of all keys below a node."""
    names = set()
    for key, value in node.items():
        name = f"{prefix}{key}"
        names |= leaves(value, f"{name}.") if isinstance(value, CfgNode) else {name}
    return names


@pytest.fixture(scope="module")
def cfg():
    cfg = get_cfg()
    add_psformer_config(cfg)
    return cfg


@pytest.fixture(scope="module")
def own_keys(cfg):
    return leaves(cfg) - leaves(get_cfg())


def test_there_are_own_keys(own_keys):
    assert {"MODEL.TRANSFORMER_DECODER.NUM_QUERIES", "MODEL.BACKBONE.TIMM_NAME"} <= own_keys


def test_every_own_key_is_read_somewhere(own_keys):
    """Outside config/, as an attribute of the node it stands in; nothing is declared in vain."""
    files = [f for f in PACKAGE.rglob("*.py") if not {"config", "d2lite"} & set(f.parts)]
    code = "\n".join(f.read_text() for f in [*files, *PROGRAMS] if f.exists())
    unread = {key for key in own_keys if not re.search(rf"\.{key.split('.')[-1]}\b", code)}
    assert not unread


@pytest.mark.parametrize("file", sorted((PACKAGE / "config").glob("*.py")), ids=lambda f: f.stem)
def test_every_own_key_is_explained(file):
    """A comment stands above every key, the key before it, or the node that it opens."""
    lines = file.read_text().splitlines()
    key = re.compile(r"\s+\w[\w.]*\.[A-Z][A-Z0-9_]* = ")
    explained = False
    for line in lines:
        if line.lstrip().startswith("#"):
            explained = True
        elif not key.match(line):
            explained = explained and bool(line.strip())
        else:
            assert explained or line.endswith("CN()"), f"{line.strip()} has no comment"


def test_adding_our_keys_changes_three_defaults_of_detectron2():
    plain, ours = get_cfg(), get_cfg()
    add_psformer_config(ours)
    changed = {key for key in leaves(plain) if _value(plain, key) != _value(ours, key)}
    names = "AMP.ENABLED", "CLIP_GRADIENTS.CLIP_TYPE", "WEIGHT_DECAY_NORM"
    assert changed == {f"SOLVER.{name}" for name in names}


def _value(node: CfgNode, key: str):
    for part in key.split("."):
        node = node[part]
    return node


@pytest.mark.parametrize("key", ["MODEL.PSFORMER.TOP_K", "MODEL.PSFORMERS.TOPK"])
def test_an_unknown_key_is_named(cfg, key):
    with pytest.raises((KeyError, AssertionError), match=key.split(".")[-1]):
        cfg.clone().merge_from_list([key, 5])


def test_an_unknown_key_of_a_file_is_named(cfg, tmp_path):
    path = tmp_path / "typo.yaml"
    path.write_text("MODEL:\n  PSFORMER:\n    TOP_K: 5\nVERSION: 2\n")
    with pytest.raises(KeyError, match=r"TOP_K"):
        cfg.clone().merge_from_file(str(path))


def test_values_keep_their_type(cfg):
    with pytest.raises(ValueError, match="TOPK"):
        cfg.clone().merge_from_list(["MODEL.PSFORMER.TOPK", "many"])


def test_a_dumped_config_reads_back(cfg, tmp_path):
    path = tmp_path / "dump.yaml"
    changed = cfg.clone()
    changed.merge_from_list(["MODEL.PSFORMER.TOPK", 17])
    path.write_text(changed.dump())
    again = cfg.clone()
    again.merge_from_file(str(path))
    # tuples may come back as lists: JSON knows no difference
    assert json.dumps(again) == json.dumps(changed) != json.dumps(cfg)


# ---------------------------------------------------------------- keys of earlier versions

NOW = {**RENAMED, "TEST.SCORE_THRESHOLD": "MODEL.POSTPROCESSING.SCORE_THRESHOLD"}


def test_new_names_exist(cfg):
    """Every key that a sentence of RENAMED names; a node, too, can be named."""
    known = leaves(cfg)
    nodes = {key.rsplit(".", n)[0] for key in known for n in range(1, key.count(".") + 1)}
    for sentence in RENAMED.values():
        names = re.findall(r"[A-Z][A-Z_]*(?:\.[A-Z_]+)+", sentence)
        assert names and set(names) <= known | nodes, sentence


@pytest.mark.parametrize("old", NOW)
def test_an_old_key_on_the_command_line_is_refused_with_its_new_name(cfg, old):
    with pytest.raises(KeyError, match=re.escape(NOW[old])):
        cfg.clone().merge_from_list([f"MODEL.PSFORMER.{old}", "1"])


@pytest.mark.parametrize("old", NOW)
def test_an_old_key_of_a_file_is_refused_with_its_new_name(cfg, tmp_path, old):
    """Written as nodes in one another, as files have them."""
    path, value = tmp_path / "old.yaml", "1"
    for key in reversed(old.split(".")):
        value = f"{{{key}: {value}}}"
    path.write_text(f"MODEL:\n  PSFORMER: {value}\nVERSION: 2\n")
    node = old.split(".")[0]
    with pytest.raises(KeyError) as refused:
        cfg.clone().merge_from_file(str(path))
    assert any(NOW[key] in str(refused.value) for key in (old, node))


def test_load_config_says_it_in_one_sentence(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text("MODEL: {PSFORMER: {TEST: {TOPK: 5}}}\nVERSION: 2\n")
    with pytest.raises(UserError, match=r"MODEL\.PSFORMER\.TEST.*MODEL\.PSFORMER\.TOPK"):
        load_config(str(path))
    with pytest.raises(UserError, match=r"MODEL\.PSFORMER\.TEST\.TOPK.*MODEL\.PSFORMER\.TOPK"):
        load_config("coco/psformer_R50_1x", ["MODEL.PSFORMER.TEST.TOPK", "5"])


def test_freeze_bn_became_a_kind_of_norm(cfg):
    with pytest.raises(KeyError, match=r"MODEL\.BACKBONE\.NORM.*FREEZE_BN True is NORM FrozenBN"):
        cfg.merge_from_list(["MODEL.BACKBONE.FREEZE_BN", "True"])

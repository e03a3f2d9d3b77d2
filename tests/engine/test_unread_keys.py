"""Keys that a config sets although only other architectures read them."""

import logging

import pytest

from d2_psformer.d2.config import CfgNode
from d2_psformer.engine import build_model, load_config
from d2_psformer.engine.unread_keys import _READ_BY, unread_keys
from d2_psformer.model_zoo import list_configs

SMALL = {  # a config of each architecture
    "PanopticSegFormer": "scenes/demo",
    "PanopticSegFormerV1": "scenes/psformer_v1",
    "MaskFormer": "scenes/maskformer",
    "Mask2Former": "scenes/mask2former",
    "MaXDeepLab": "scenes/max_deeplab",
    "PerPixelBaseline": "ade20k/per_pixel_baseline_R50",
    "PerPixelBaselinePlus": "ade20k/per_pixel_baseline_plus_R50",
}


@pytest.mark.parametrize("name", list_configs())
def test_no_config_of_ours_sets_one(name):
    assert unread_keys(load_config(name)) == []


def test_they_are_named_when_the_model_is_built(caplog):
    opts = ["MODEL.PSFORMER.TOPK", 7, "MODEL.LOSS.BOX_WEIGHT", 9.0, "MODEL.LOSS.NUM_POINTS", 8]
    with caplog.at_level(logging.WARNING):
        build_model(load_config("scenes/mask2former", opts))
    warning = "Mask2Former does not read MODEL.LOSS.BOX_WEIGHT, MODEL.PSFORMER.TOPK."
    assert [record.message for record in caplog.records] == [warning]


def test_nothing_is_known_about_other_architectures():
    cfg = load_config("scenes/demo", ["MODEL.META_ARCHITECTURE", "Toy", "MODEL.LOSS.MATCHING", "x"])
    assert unread_keys(cfg) == []


def names_of(node: CfgNode, prefix: str = ""):
    """Pairs of an inner node and what the full names of its keys begin with."""
    yield node, prefix
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from names_of(value, f"{prefix}{key}.")


@pytest.mark.parametrize("architecture", SMALL)
def test_the_table_agrees_with_what_is_read(architecture, monkeypatch):
    cfg = load_config(SMALL[architecture], ["MODEL.DEVICE", "cpu"])
    assert architecture == cfg.MODEL.META_ARCHITECTURE
    names = {id(node): prefix for node, prefix in names_of(cfg.MODEL)}
    found = set()

    def record(node, key, read=CfgNode.__getattr__):
        found.add(names.get(id(node), "of another config: ") + key)
        return read(node, key)

    with monkeypatch.context() as patch:
        patch.setattr(CfgNode, "__getattr__", record)
        build_model(cfg)
    for readers, keys in _READ_BY.items():
        for beginning in keys:
            is_read = any(key.startswith(beginning) for key in found)
            if architecture not in readers:
                assert not is_read, beginning
            elif not architecture.startswith("PerPixel"):
                assert is_read, beginning

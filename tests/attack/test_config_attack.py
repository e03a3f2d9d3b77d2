"""Random configs: each builds what a training and an evaluation need, or names what is wrong."""

import math

import pytest
import yaml
from attack_cases import cases
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.config.defaults import default_config, leaves
from d2_psformer.d2.data import DatasetCatalog, MetadataCatalog
from d2_psformer.data import SegmentMapper, register_from_config
from d2_psformer.engine import Trainer, load_config
from d2_psformer.engine.evaluate import check_evaluation
from d2_psformer.utils.errors import UserError, on_one_line

KEYS = dict(leaves(default_config()))
OURS = sorted(key for key in KEYS if not key.startswith(("MODEL.R", "MODEL.ROI_", "MODEL.PAN")))
SEMANTIC_ALONE = {
    "MODEL.POSTPROCESSING.PANOPTIC_ON": False,
    "MODEL.POSTPROCESSING.SEMANTIC_ON": True,
}
PARTS = {
    "PanopticSegFormer": {},
    "PanopticSegFormerV1": {},
    "MaskFormer": {"MODEL.POSTPROCESSING.MERGING": "maskformer"},
    "Mask2Former": {
        "MODEL.POSTPROCESSING.MERGING": "mask2former",
        "MODEL.TRANSFORMER_DECODER.LAYERS": 2,
    },
    "PerPixelBaseline": SEMANTIC_ALONE,
    "PerPixelBaselinePlus": SEMANTIC_ALONE,
    "EoMT": {
        "MODEL.BACKBONE.NAME": "PlainViT",
        "MODEL.BACKBONE.TIMM_NAME": "test_vit",
        "MODEL.VIT.IMAGE_SIZE": 64,
        "MODEL.EOMT.QUERY_BLOCKS": 2,
        "MODEL.POSTPROCESSING.MERGING": "mask2former",
    },
    "MaXDeepLab": {
        "MODEL.BACKBONE.NAME": "MaXDeepLabBackbone",
        "MODEL.POSTPROCESSING.MERGING": "max_deeplab",
        "MODEL.MAX_DEEPLAB.WIDTH": 0.0625,
        "MODEL.MAX_DEEPLAB.STEM_WIDTH": 0.125,
        "MODEL.MAX_DEEPLAB.TRANSFORMER_WIDTH": 16,
        "MODEL.MAX_DEEPLAB.MEMORY_DIM": 16,
        "MODEL.MAX_DEEPLAB.FEATURE_DIM": 16,
    },
}
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.NAME": "TimmBackbone",
    "MODEL.BACKBONE.TIMM_NAME": "test_resnet",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.PIXEL_DECODER.DIM": 16,
    "MODEL.PIXEL_DECODER.MASK_DIM": 16,
    "MODEL.PIXEL_DECODER.HEADS": 2,
    "MODEL.PIXEL_DECODER.LAYERS": 1,
    "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD": 16,
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": 5,
    "MODEL.TRANSFORMER_DECODER.HEADS": 2,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 1,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": 16,
    "MODEL.PSFORMER.THING_MASK_LAYERS": 1,
    "MODEL.PSFORMER.STUFF_MASK_LAYERS": 1,
    "DATASETS.TRAIN": ["attacked"],
    "DATALOADER.NUM_WORKERS": 0,
    "INPUT.FORMAT": "RGB",
}
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 255, 10**9, 10**30, -(10**30)]),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, 1e-30, 1e30, math.nan, math.inf, -math.inf]),
    st.integers(-5, 70),
    st.floats(-2, 2),
)
TEXTS = st.one_of(
    st.sampled_from(["", "cpu", "rgb", "L", "gpu", "meta", "cuda:99", "None", "1", "attacked"]),
    st.text(max_size=6),
)
SCALARS = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none())
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=5)


def values_of(key: str) -> st.SearchStrategy:
    """Values of the right type and of wrong ones, the former more often."""
    default = KEYS[key]
    kinds = {bool: st.booleans(), str: TEXTS, int: NUMBERS.filter(lambda x: type(x) is int)}
    right = kinds.get(type(default), NUMBERS)
    if isinstance(default, list | tuple):
        entry = default[0] if default else "text"
        right = st.lists(kinds.get(type(entry), VALUES), max_size=4)
        right |= st.lists(VALUES, max_size=4)
    elif isinstance(default, float):
        right = NUMBERS.map(float)
    return right | right | right | VALUES


SETTINGS = st.lists(
    st.sampled_from(OURS).flatmap(lambda key: st.tuples(st.just(key), values_of(key))), max_size=3
)


@pytest.fixture(scope="module", autouse=True)
def _attacked(tmp_path_factory):
    DatasetCatalog.register("attacked", list)
    ids = {"thing_dataset_id_to_contiguous_id": {1: 0}}
    MetadataCatalog.get("attacked").set(
        stuff_classes=["a", "b"], stuff_dataset_id_to_contiguous_id={1: 0, 2: 1}, **ids
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("outputs"))  # OUTPUT_DIR is random too
        yield
    DatasetCatalog.pop("attacked")
    MetadataCatalog.pop("attacked")


def nested(settings: dict) -> dict:
    root: dict = {"VERSION": 2}
    for key, value in settings.items():
        *path, last = key.split(".")
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return root


def build(config: str, opts: list) -> None:
    cfg = load_config(config, opts)
    register_from_config(cfg)
    Trainer(cfg)
    SegmentMapper(cfg, True), SegmentMapper(cfg, False)
    check_evaluation(cfg)


def names_one_of(message: str, changes: dict) -> bool:
    """A key, or its node and the argument that it becomes, or a name that the value has."""
    for key, value in changes.items():
        node, _, argument = key.rpartition(".")
        names = [x for x in [value, *_list(value)] if isinstance(x, str)]
        if key in message or any(on_one_line(x) in message or repr(x) in message for x in names):
            return True
        if node in message and f" {argument} ".lower() in message.lower():
            return True
    return False


def _list(value) -> list:
    return value if isinstance(value, list) else []


@given(st.sampled_from(sorted(PARTS)), SETTINGS, st.booleans())
@cases(20, shrinks=False)
def test_a_config_builds_or_names_what_is_wrong(tmp_path, architecture, settings, in_file):
    changes, path = dict(settings), tmp_path / "config.yaml"
    base = TINY | PARTS[architecture] | {"MODEL.META_ARCHITECTURE": architecture}
    base |= {"OUTPUT_DIR": str(tmp_path / "output")}
    content = nested(base | changes if in_file else base)
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    opts = [] if in_file else [text for key, value in changes.items() for text in (key, str(value))]
    try:
        build(str(path), opts)
    except UserError as error:
        assert "\n" not in str(error)
        assert names_one_of(str(error), changes), str(error)

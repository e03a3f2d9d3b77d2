"""Keys that a config sets in vain: the table agrees with what is read in trainings."""

import logging
import re

import pytest
from reads import recorded_reads

from d2_psformer.config.defaults import default_config, leaves
from d2_psformer.data import register_panoptic
from d2_psformer.data.scenes import ScenesSpec, write_scenes
from d2_psformer.engine import Trainer, build_model, load_config
from d2_psformer.engine.unread_keys import _READ_WHERE, _UNREAD, unread_keys
from d2_psformer.model_zoo import list_configs
from tests.modeling import small_models as small

KEYS = [key for key, _ in leaves(default_config())]
# Read by what no training of a second reaches: the command, Detectron2's backbones, embeddings.
ELSEWHERE = re.compile(
    r"CUDNN_BENCHMARK|FLOAT32_PRECISION|DATASETS\.REGISTER|TEST\.EXPECTED_RESULTS|VERSION"
    r"|MODEL\.(RESNETS|FPN)\..*|SOLVER\.WEIGHT_DECAY_EMBED"
)
POST = "MODEL.POSTPROCESSING."
BASE = {
    "SOLVER.MAX_ITER": 1,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.STEPS": (),
    "SOLVER.IMS_PER_BATCH": 2,
    "DATALOADER.NUM_WORKERS": 0,
    "SEED": 1,
    "INPUT.MIN_SIZE_TRAIN": (64,),
    "INPUT.MIN_SIZE_TEST": 64,
    "MODEL.BACKBONE.NORM": "BN",
    "MODEL.LOSS.NUM_POINTS": 16,
    f"{POST}SEMANTIC_ON": True,
}
POLY = {"SOLVER.LR_SCHEDULER_NAME": "WarmupPolyLR"}
TWO_STAGES = {"SOLVER.LR_SCHEDULER_NAME": "TwoStageWarmupPolyLR"}
GAMMA = {"SOLVER.NUM_DECAYS": 0, "SOLVER.LR_SCHEDULER_NAME": "WarmupStepWithFixedGammaLR"}
DEEPLAB2 = {"INPUT.DEEPLAB2.ENABLED": True, "INPUT.DEEPLAB2.SIZE": 65}
CROP = {"INPUT.CROP.ENABLED": True, "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": 0.5}
JITTER = {"INPUT.LARGE_SCALE_JITTER.ENABLED": True, "INPUT.LARGE_SCALE_JITTER.SIZE": 64}
EVALUATED = {"TEST.EVAL_PERIOD": 1}
# Each architecture, with one of the values that the table's other keys can have.
MORE = {
    "decoupled": {f"{POST}INSTANCE_ON": True, "INPUT.DETR_CROP.ENABLED": True},
    "version 1": {"SOLVER.OPTIMIZER": "SGD"} | GAMMA,
    "maskformer": CROP | {"SOLVER.CLIP_GRADIENTS.ENABLED": True, "DATALOADER.ON_ERROR": "skip"},
    "mask2former": JITTER | POLY,
    "max-deeplab": DEEPLAB2 | EVALUATED,
    "eomt": JITTER | TWO_STAGES | {"SOLVER.LAYER_DECAY": 0.8},
    "per pixel": {"SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR"},
    "per pixel plus": {"SOLVER.AMP.ENABLED": False},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesSpec(train=2, val=1, size=64))
    for split in ("train", "val"):
        json, folder = root / f"panoptic_{split}.json", root / f"panoptic_{split}"
        register_panoptic(f"read_{split}", str(root / split), str(json), str(folder))
    return {"DATASETS.TRAIN": ("read_train",), "DATASETS.TEST": ("read_val",)}


@pytest.fixture(scope="module")
def read(scenes, tmp_path_factory):
    """The config of each training, and the keys that it read."""
    found = {}
    for name in small.EVERY_ARCHITECTURE:
        cfg = default_config()
        options = small.SMALL | small.TINY_BACKBONE | small.VARIANTS[name] | BASE | scenes
        options |= MORE[name] | {"OUTPUT_DIR": str(tmp_path_factory.mktemp("output"))}
        cfg.merge_from_list([part for pair in options.items() for part in pair])
        with recorded_reads(cfg) as keys:
            trainer = Trainer(cfg)
            trainer.resume_or_load(resume=False)
            trainer.train()
        found[name] = cfg, keys
    return found


def changed(cfg):
    """The config with other values than its own in all keys that decide nothing."""
    for key in KEYS:
        *path, last = key.split(".")
        node = cfg
        for part in path:
            node = node[part]
        if key not in {condition for condition, _ in _READ_WHERE}:
            node[last] = "changed"
    return cfg


def test_every_key_is_read_or_known_to_be_unread(read):
    ever = set().union(*(keys for _, keys in read.values()))
    for key in KEYS:
        unread = key.startswith(_UNREAD)
        assert unread != (key in ever or bool(ELSEWHERE.fullmatch(key))), key


@pytest.mark.parametrize("name", small.EVERY_ARCHITECTURE)
def test_the_conditions_agree_with_what_is_read(name, read):
    cfg, keys = read[name]
    unread = set(unread_keys(changed(cfg.clone())))
    if name == "version 1":  # its schedule is turned into one of steps
        keys = keys - {"SOLVER.STEPS"}
    assert sorted(unread & keys) == []
    # What is neither read nor named is missing in the table.
    ours = {key for key in KEYS if not ELSEWHERE.fullmatch(key)}
    lenient = name.startswith("per pixel")  # these take the configs of MaskFormer
    assert lenient or sorted(ours - keys - unread) == []


@pytest.mark.parametrize("name", list_configs())
def test_no_config_of_ours_sets_one(name):
    assert unread_keys(load_config(name)) == {}


def test_they_are_named_when_the_model_is_built(caplog):
    opts = ["MODEL.PSFORMER.TOPK", 7, "MODEL.LOSS.BOX_WEIGHT", 9.0, "MODEL.LOSS.NUM_POINTS", 8]
    opts += ["TEST.AUG.ENABLED", True, "SOLVER.MOMENTUM", 0.5, "SOLVER.BASE_LR", 0.1]
    with caplog.at_level(logging.WARNING):
        build_model(load_config("scenes/mask2former", opts))
    warning = (
        "Set in vain, nothing reads MODEL.LOSS.BOX_WEIGHT, MODEL.PSFORMER.TOPK "
        "(MODEL.META_ARCHITECTURE is Mask2Former); SOLVER.MOMENTUM (SOLVER.OPTIMIZER is ADAMW); "
        "TEST.AUG.ENABLED."
    )
    assert [record.message for record in caplog.records] == [warning]


@pytest.mark.parametrize("name", ["scenes/demo", "scenes/eomt"])
def test_none_in_a_config_that_was_saved(tmp_path, name):
    """Tuples in tuples are lists there."""
    (tmp_path / "config.yaml").write_text(load_config(name).dump())
    assert unread_keys(load_config(str(tmp_path / "config.yaml"))) == {}


def test_nothing_is_known_about_other_architectures():
    cfg = load_config("scenes/demo", ["MODEL.META_ARCHITECTURE", "Toy", "MODEL.LOSS.MATCHING", "x"])
    assert unread_keys(cfg) == {}

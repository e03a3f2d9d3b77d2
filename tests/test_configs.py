"""Every config merges, and those of Panoptic SegFormer say what paper and official code do."""

import pytest

import d2_psformer.data.public  # noqa: F401  (registers the data sets that configs name)
from d2_psformer.d2.data import DatasetCatalog
from d2_psformer.engine import load_config
from d2_psformer.model_zoo import list_configs

NAMES = list_configs()
ARCHITECTURES = {
    "psformer": "PanopticSegFormer",
    "psformer_v1": "PanopticSegFormerV1",
    "maskformer": "MaskFormer",
    "per_pixel_baseline": "PerPixelBaseline",
    "per_pixel_baseline_plus": "PerPixelBaselinePlus",
    "mask2former": "Mask2Former",
    "max_deeplab": "MaXDeepLab",
    "eomt": "EoMT",
    "": "PanopticSegFormer",
}
# the data set of a handful of images that the overfitting config is run with
NAMED_ON_THE_COMMAND_LINE = "few"
OUTPUTS = {name: load_config(name).OUTPUT_DIR for name in NAMES}
RELEASED = ["R50_1x", "R50_2x", "R101_2x", "PVTv2-B0_2x", "PVTv2-B2_2x", "PVTv2-B5_2x", "SwinL_2x"]
VERSION_1 = ["v1_R50", "v1_R101", "v1_PVTv2-B0", "v1_PVTv2-B2-Li", "v1_PVTv2-B5"]


@pytest.mark.parametrize("name", NAMES)
def test_merges_with_the_architecture_of_its_name(name):
    cfg = load_config(name)
    own_name = name.partition("/")[2]
    longest = max((x for x in ARCHITECTURES if own_name.startswith(x)), key=len)
    assert ARCHITECTURES[longest] == cfg.MODEL.META_ARCHITECTURE
    assert cfg.VERSION == 2
    assert cfg.INPUT.FORMAT == "RGB"
    assert len(cfg.MODEL.PIXEL_MEAN) == 3


@pytest.mark.parametrize("name", NAMES)
def test_names_known_data_sets_and_an_output_of_its_own(name):
    cfg = load_config(name)
    assert cfg.DATASETS.TRAIN and cfg.DATASETS.TEST
    known = {*DatasetCatalog.list(), NAMED_ON_THE_COMMAND_LINE}
    assert {*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST} <= known
    assert [n for n in NAMES if OUTPUTS[n] == cfg.OUTPUT_DIR] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_frozen_layers_have_weights_to_start_from(name):
    backbone = load_config(name).MODEL.BACKBONE
    if backbone.FREEZE_AT or backbone.NORM == "FrozenBN":
        assert backbone.PRETRAINED or backbone.WEIGHTS


@pytest.mark.parametrize("name", VERSION_1)
def test_version_1_trains_longer(name):
    cfg, usual = load_config(f"coco/psformer_{name}"), load_config("coco/psformer_R50_2x")
    assert cfg.MODEL.PSFORMER.THING_MASK_LAYERS == 6
    assert cfg.SOLVER.MAX_ITER == 50 * 14786 and tuple(cfg.SOLVER.STEPS) == (40 * 14786,)
    assert usual.INPUT == cfg.INPUT
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.IMS_PER_BATCH) == (1.4e-4, 8)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("v1_R50", "R50_2x"),
        ("v1_R101", "R101_2x"),
        ("v1_PVTv2-B0", "PVTv2-B0_2x"),
        ("v1_PVTv2-B2-Li", "PVTv2-B2_2x"),
        ("v1_PVTv2-B5", "PVTv2-B5_2x"),
    ],
)
def test_version_1_treats_backbones_as_the_other_configs_do(name, other):
    ours, theirs = (load_config(f"coco/psformer_{n}").MODEL.BACKBONE for n in (name, other))
    for key in ("PRETRAINED", "FREEZE_AT", "NORM", "DROP_PATH"):
        assert ours[key] == theirs[key], key


@pytest.mark.parametrize("name", RELEASED)
def test_training_is_the_papers(name):
    solver = load_config(f"coco/psformer_{name}").SOLVER
    assert (solver.OPTIMIZER, solver.BASE_LR, solver.WEIGHT_DECAY) == ("ADAMW", 1.4e-4, 1e-4)
    assert (solver.IMS_PER_BATCH, solver.WARMUP_ITERS) == (8, 0)
    clip = solver.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE) == (True, "full_model", 0.1)
    assert {part for part, _ in solver.LR_MULTIPLIERS} == {
        "backbone",
        "sampling_offsets",
        "reference_points",
    }
    assert all(factor == 0.1 for _, factor in solver.LR_MULTIPLIERS)
    epoch = 14786
    if name.endswith("1x"):
        assert (solver.MAX_ITER, tuple(solver.STEPS)) == (12 * epoch, (8 * epoch,))
    else:
        assert (solver.MAX_ITER, tuple(solver.STEPS)) == (24 * epoch, (18 * epoch,))


@pytest.mark.parametrize("name", RELEASED)
def test_model_is_the_papers(name):
    cfg = load_config(f"coco/psformer_{name}")
    pixels, queries = cfg.MODEL.PIXEL_DECODER, cfg.MODEL.TRANSFORMER_DECODER
    own, post = cfg.MODEL.PSFORMER, cfg.MODEL.POSTPROCESSING
    for node in (pixels, queries):
        assert (node.LAYERS, node.HEADS, node.DIM_FEEDFORWARD) == (6, 8, 1024)
    assert (pixels.DIM, queries.NUM_QUERIES) == (256, 300)
    assert (own.THING_MASK_LAYERS, own.STUFF_MASK_LAYERS, own.TOPK) == (4, 6, 100)
    assert list(pixels.IN_FEATURES) == ["res3", "res4", "res5"] and pixels.NUM_LEVELS == 4
    heavy = name in ("PVTv2-B5_2x", "SwinL_2x")
    threshold = 0.3 if heavy else 0.25
    assert threshold == post.SCORE_THRESHOLD
    assert (post.MERGING, post.CLASS_POWER, post.MASK_POWER) == ("mask_wise", 1, 2)
    assert (post.THING_OVERLAP_THRESHOLD, post.STUFF_OVERLAP_THRESHOLD) == (0.4, 0.2)
    loss = cfg.MODEL.LOSS
    weights = loss.CLASS_WEIGHT, loss.BOX_WEIGHT, loss.GIOU_WEIGHT, loss.DICE_WEIGHT
    assert weights == (2, 5, 2, 2) and loss.DEEP_SUPERVISION
    assert (own.STUFF_CLASS_WEIGHT, own.MASK_MATCH_CLASS_COST) == (4, 4)


@pytest.mark.parametrize("name", ["R50_1x", "R50_2x", "R101_2x"])
def test_resnets_freeze_what_the_official_ones_freeze(name):
    backbone = load_config(f"coco/psformer_{name}").MODEL.BACKBONE
    assert backbone.FREEZE_AT == 2 and backbone.NORM == "FrozenBN"
    assert backbone.PRETRAINED == "tv_in1k", "torchvision's first weights, not timm's choice"


def test_augmentation_is_the_papers():
    node = load_config("coco/psformer_R50_2x").INPUT
    assert list(node.MIN_SIZE_TRAIN) == list(range(480, 801, 32)) and node.MAX_SIZE_TRAIN == 1333
    assert node.DETR_CROP.ENABLED
    assert list(node.DETR_CROP.RESIZE) == [400, 500, 600]
    assert list(node.DETR_CROP.SIZE) == [384, 600]
    assert (node.MIN_SIZE_TEST, node.MAX_SIZE_TEST) == (800, 1333)

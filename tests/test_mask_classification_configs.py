"""The configs of MaskFormer, its baselines and Mask2Former say what their authors train."""

import pytest

from d2_psformer.engine import load_config
from d2_psformer.model_zoo import list_configs

# how many configs of each family there are, so that no pattern below finds nothing
FAMILIES = {"maskformer": 14, "per_pixel_baseline": 2, "mask2former": 27}
# Those of the official projects; the small ones are ours alone.
LISTED = [name for name in list_configs() if not name.endswith("_overfit")]
NAMES = {family: [name for name in LISTED if f"/{family}_" in name] for family in FAMILIES}
ALL = [name for names in NAMES.values() for name in names]
TASKS = ("PANOPTIC_ON", "SEMANTIC_ON", "INSTANCE_ON")


def test_there_is_every_config():
    assert {family: len(names) for family, names in NAMES.items()} == FAMILIES


def is_swin(name: str) -> bool:
    return "Swin" in name


@pytest.mark.parametrize("name", ALL)
def test_optimizer(name):
    cfg = load_config(name)
    solver, is_maskformer = cfg.SOLVER, name not in NAMES["mask2former"]
    own_recipe = is_maskformer and is_swin(name)
    rates = [] if own_recipe else [["backbone", 0.1]]
    assert (solver.OPTIMIZER, list(solver.LR_MULTIPLIERS)) == ("ADAMW", rates)
    decay = 0.05 if not is_maskformer else 0.01 if own_recipe else 1e-4
    assert (6e-5 if own_recipe else 1e-4, decay) == (solver.BASE_LR, solver.WEIGHT_DECAY)
    assert (solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY_EMBED) == (0, 0)
    warmup = (1500, 1e-6) if own_recipe else (0, 1)
    assert warmup == (solver.WARMUP_ITERS, solver.WARMUP_FACTOR)
    clip = solver.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE) == (True, "full_model", 0.01)
    assert clip.NORM_TYPE == 2 and solver.AMP.ENABLED
    assert cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS


SCHEDULES = {  # beginning of a name: batch, iterations, steps
    "coco/maskformer": (64, 554400, (369600,)),
    "coco/mask2former": (16, 368750, (327778, 355092)),
    "coco/mask2former_SwinL": (16, 737500, (655556, 710184)),
    "coco/mask2former_instance_SwinL": (16, 737500, (655556, 710184)),
    "ade20k/": (16, 160000, None),
    "ade20k/maskformer_R50": (16, 720000, None),
    "cityscapes/": (16, 90000, None),
}


@pytest.mark.parametrize("name", ALL)
def test_schedule(name):
    solver = load_config(name).SOLVER
    batch, iterations, steps = SCHEDULES[max((x for x in SCHEDULES if name.startswith(x)), key=len)]
    assert (batch, iterations) == (solver.IMS_PER_BATCH, solver.MAX_ITER)
    if steps:
        assert ("WarmupMultiStepLR", steps) == (solver.LR_SCHEDULER_NAME, solver.STEPS)
        assert solver.GAMMA == 0.1
    else:
        assert (solver.LR_SCHEDULER_NAME, solver.POLY_LR_POWER) == ("WarmupPolyLR", 0.9)
        assert solver.POLY_LR_CONSTANT_ENDING == 0


BACKBONES = {
    "R50": ("resnet50", "tv_in1k"),
    "R101": ("resnet101", "tv_in1k"),
    "SwinT": ("swin_tiny_patch4_window7_224", "ms_in1k"),
    "SwinS": ("swin_small_patch4_window7_224", "ms_in1k"),
    "SwinB": ("swin_base_patch4_window12_384", "ms_in22k"),
    "SwinL": ("swin_large_patch4_window12_384", "ms_in22k"),
}


@pytest.mark.parametrize("name", ALL)
def test_backbone(name):
    node = load_config(name).MODEL.BACKBONE
    assert BACKBONES[name.rpartition("_")[2]] == (node.TIMM_NAME, node.PRETRAINED)
    assert node.FREEZE_AT == 0 and (0.3 if is_swin(name) else 0) == node.DROP_PATH
    if not is_swin(name):
        synchronised = name.startswith("cityscapes/mask2former")
        assert ("SyncBN" if synchronised else "FrozenBN") == node.NORM


@pytest.mark.parametrize("name", ALL)
def test_model(name):
    cfg = load_config(name)
    pixels, queries, loss = cfg.MODEL.PIXEL_DECODER, cfg.MODEL.TRANSFORMER_DECODER, cfg.MODEL.LOSS
    assert list(pixels.IN_FEATURES) == ["res2", "res3", "res4", "res5"]
    assert pixels.DIM == pixels.MASK_DIM == 256 and pixels.HEADS == queries.HEADS == 8
    weights = loss.CLASS_WEIGHT, loss.MASK_WEIGHT, loss.DICE_WEIGHT, loss.NO_OBJECT_WEIGHT
    assert queries.DIM_FEEDFORWARD == 2048 and loss.DEEP_SUPERVISION
    if name in NAMES["mask2former"]:
        assert weights == (2, 5, 5, 0.1)
        assert (pixels.NUM_LEVELS, pixels.LAYERS, pixels.POINTS) == (3, 6, 4)
        assert (pixels.DIM_FEEDFORWARD, queries.LAYERS) == (1024, 9)
        assert pixels.DROPOUT == queries.DROPOUT == 0
        points = loss.NUM_POINTS, loss.OVERSAMPLE_RATIO, loss.IMPORTANCE_SAMPLE_RATIO
        assert points == (12544, 3, 0.75)
    else:
        assert weights == (1, 20, 1, 0.1) and (loss.FOCAL_ALPHA, loss.FOCAL_GAMMA) == (0.25, 2)
        encoder = name in ("coco/maskformer_R50", "coco/maskformer_R101", "ade20k/maskformer_R50")
        assert (6 if encoder else 0, 6) == (pixels.LAYERS, queries.LAYERS)
        assert pixels.DIM_FEEDFORWARD == 2048 and pixels.DROPOUT == queries.DROPOUT == 0.1
    many = "mask2former" in name and name.endswith("SwinL") and "semantic" not in name
    assert (200 if many else 100) == queries.NUM_QUERIES
    unpadded = "coco/maskformer" in name or "per_pixel" in name
    assert (0 if unpadded else 32) == cfg.MODEL.SIZE_DIVISIBILITY


@pytest.mark.parametrize("name", ALL)
def test_results(name):
    node = load_config(name).MODEL.POSTPROCESSING
    if "semantic" in name or "per_pixel" in name:
        tasks = (False, True, False)
    elif "instance" in name:
        tasks = (False, False, True)
    else:
        tasks = (True, True, "mask2former" in name)
        assert (0.7 if name == "ade20k/maskformer_R50" else 0.8) == node.SCORE_THRESHOLD
        assert node.THING_OVERLAP_THRESHOLD == node.STUFF_OVERLAP_THRESHOLD == 0.2
        assert ("mask2former" if "mask2former" in name else "maskformer") == node.MERGING
    assert tuple(node[task] for task in TASKS) == tasks


@pytest.mark.parametrize("name", ALL)
def test_images(name):
    node = load_config(name).INPUT
    assert node.FORMAT == "RGB" and node.RANDOM_FLIP == "horizontal"
    if name.startswith("coco/"):
        assert (node.MIN_SIZE_TEST, node.MAX_SIZE_TEST) == (800, 1333)
        assert not (node.COLOR_AUG_SSD or node.CROP.ENABLED)
        jitter = node.LARGE_SCALE_JITTER
        assert jitter.ENABLED != node.DETR_CROP.ENABLED and ("mask2" in name) == jitter.ENABLED
        assert (jitter.MIN_SCALE, jitter.MAX_SCALE, jitter.SIZE) == (0.1, 2.0, 1024)
        if node.DETR_CROP.ENABLED:
            assert list(node.MIN_SIZE_TRAIN) == list(range(480, 801, 32))
            assert (1000 if name.endswith("SwinL") else 1333) == node.MAX_SIZE_TRAIN
        return
    if name.startswith("cityscapes/"):
        base, crop, padded, longest = 1024, [512, 1024], -1, 2048
    else:
        small = ("per_pixel" in name or "semantic" in name) and name[-1] not in "BL"
        base = padded = 512 if small else 640
        crop, longest = [base, base], 4 * base
    assert list(node.MIN_SIZE_TRAIN) == [int(0.1 * x * base) for x in range(5, 21)]
    assert (4 * base, longest) == (node.MAX_SIZE_TRAIN, node.MAX_SIZE_TEST)
    assert (base, padded) == (node.MIN_SIZE_TEST, node.SIZE_DIVISIBILITY)
    assert (node.CROP.ENABLED, node.CROP.TYPE, list(node.CROP.SIZE)) == (True, "absolute", crop)
    assert node.COLOR_AUG_SSD and node.CROP.SINGLE_CATEGORY_MAX_AREA == 1
    assert not (node.LARGE_SCALE_JITTER.ENABLED or node.DETR_CROP.ENABLED)

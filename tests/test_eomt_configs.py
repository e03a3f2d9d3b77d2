"""The configs of EoMT say what its authors train, and are as large as theirs."""

import pytest
import torch

import d2_psformer.data.public  # noqa: F401  (registers the data sets that configs name)
from d2_psformer.d2.modeling import build_model
from d2_psformer.engine import load_config
from d2_psformer.model_zoo import list_configs

NAMES = [name for name in list_configs() if "/eomt" in name and not name.startswith("scenes/")]
NAMES = [name for name in NAMES if not name.endswith("_overfit")]
every_config = pytest.mark.parametrize("name", NAMES)
# epochs, and images of an epoch
TRAININGS = {
    "coco/": (12, 118287),
    "coco/2x": (24, 118287),
    "ade20k/": (31, 20210),
    "cityscapes/": (107, 2975),
}
# when the blocks begin to lose their masks, and when they have none, without the first of DINOv3
ANNEALING = {
    "coco/": ([14782, 29564, 44346, 59128], [29564, 44346, 59128, 73910]),
    "coco/2x": ([29564, 73910, 118256], [59128, 103474, 147820]),
    "ade20k/": ([6520, 13040, 19560, 26080], [13040, 19560, 26080, 32600]),
    "cityscapes/": ([3317, 6634, 9951, 13268], [6634, 9951, 13268, 16585]),
}


def training_of(name: str) -> str:
    return name.partition("/")[0] + ("/2x" if "2x" in name else "/")


def is_dinov3(name: str) -> bool:
    return name.endswith("dinov3")


def test_there_is_every_config():
    assert len(NAMES) == 13


@every_config
def test_training(name):
    cfg = load_config(name)
    solver, blocks = cfg.SOLVER, cfg.MODEL.EOMT.QUERY_BLOCKS
    epochs, images = TRAININGS[training_of(name)]
    assert (16, epochs * (images // 16)) == (solver.IMS_PER_BATCH, solver.MAX_ITER)
    assert (solver.OPTIMIZER, solver.WEIGHT_DECAY) == ("ADAMW", 0.05)
    assert solver.WEIGHT_DECAY_NORM is None and solver.WEIGHT_DECAY_EMBED is None
    assert (solver.LR_SCHEDULER_NAME, solver.POLY_LR_POWER) == ("TwoStageWarmupPolyLR", 0.9)
    rates = solver.BASE_LR, solver.WARMUP_ITERS, solver.BACKBONE_WARMUP_ITERS
    assert rates == ((2e-4, 2000, 3000) if is_dinov3(name) else (1e-4, 500, 1000))
    assert (solver.LAYER_DECAY, list(solver.LR_MULTIPLIERS)) == (0.8, [])
    assert (blocks if is_dinov3(name) else 0) == solver.LAYER_DECAY_SKIPS
    clip = solver.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE) == (True, "full_model", 0.01)


@every_config
def test_model(name):
    node = load_config(name).MODEL
    loss, queries = node.LOSS, node.TRANSFORMER_DECODER.NUM_QUERIES
    weights = loss.CLASS_WEIGHT, loss.MASK_WEIGHT, loss.DICE_WEIGHT, loss.NO_OBJECT_WEIGHT
    assert weights == (2, 5, 5, 0.1)
    points = loss.NUM_POINTS, loss.OVERSAMPLE_RATIO, loss.IMPORTANCE_SAMPLE_RATIO
    assert points == (12544, 3, 0.75)
    assert (100 if "semantic" in name else 200) == queries
    assert (3 if "2x" in name else 4) == node.EOMT.QUERY_BLOCKS
    starts, ends = ([*x] for x in ANNEALING[training_of(name)])
    if is_dinov3(name):
        starts[0], ends[0] = 0, 3000
    assert [list(x) for x in zip(starts, ends, strict=True)] == node.EOMT.MASK_ANNEALING
    size = "small" if "_S_" in name else "base" if "_B_" in name else "large"
    vit = "patch16_dinov3_qkvb" if is_dinov3(name) else "patch14_reg4_dinov2"
    assert f"vit_{size}_{vit}" == node.BACKBONE.TIMM_NAME
    assert ("lvd1689m" if is_dinov3(name) else "lvd142m") == node.BACKBONE.PRETRAINED
    assert (2 if is_dinov3(name) else 1) == node.VIT.ROTARY_RESCALE


@every_config
def test_images_and_results(name):
    cfg = load_config(name)
    node, jitter, semantic = cfg.INPUT, cfg.INPUT.LARGE_SCALE_JITTER, "semantic" in name
    size = next(int(part) for part in name.split("_") if part.isdigit())
    assert {size} == {jitter.SIZE, cfg.MODEL.VIT.IMAGE_SIZE, node.MIN_SIZE_TEST}
    scales = (0.5 if semantic else 0.1, 2.0)
    assert jitter.ENABLED and scales == (jitter.MIN_SCALE, jitter.MAX_SCALE)
    assert (not name.startswith("coco/")) == node.COLOR_AUG_SSD
    assert (size if semantic else 0) == cfg.MODEL.POSTPROCESSING.WINDOW
    assert (node.FORMAT, cfg.MODEL.PADDING_VALUE) == ("RGB", 0)
    tasks = [x for x in ("PANOPTIC", "SEMANTIC", "INSTANCE") if cfg.MODEL.POSTPROCESSING[f"{x}_ON"]]
    assert tasks == ["SEMANTIC" if semantic else "INSTANCE" if "instance" in name else "PANOPTIC"]
    if not semantic:
        assert size == node.MAX_SIZE_TEST == cfg.MODEL.SIZE_DIVISIBILITY
        post = cfg.MODEL.POSTPROCESSING
        assert (post.MERGING, post.SCORE_THRESHOLD) == ("mask2former", 0.8)
        assert post.THING_OVERLAP_THRESHOLD == post.STUFF_OVERLAP_THRESHOLD == pytest.approx(0.2)


@every_config
def test_parameters_are_as_many_as_those_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    cfg = load_config(name, ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        ours = build_model(cfg)
    vit = ours.backbone.vit
    sizes = {
        "hidden_size": vit.embed_dim,
        "num_hidden_layers": len(vit.blocks),
        "num_attention_heads": vit.embed_dim // 64,
        "num_blocks": cfg.MODEL.EOMT.QUERY_BLOCKS,
        "num_queries": cfg.MODEL.TRANSFORMER_DECODER.NUM_QUERIES,
        "num_labels": ours.classes.num_classes,
        "image_size": cfg.MODEL.VIT.IMAGE_SIZE,
    }
    if is_dinov3(name):
        config = transformers.EomtDinov3Config(**sizes, intermediate_size=4 * vit.embed_dim)
        kind = transformers.EomtDinov3ForUniversalSegmentation
    else:
        config, kind = transformers.EomtConfig(**sizes), transformers.EomtForUniversalSegmentation
    with torch.device("meta"):
        theirs = kind(config)
    assert sum(x.numel() for x in ours.parameters()) == sum(x.numel() for x in theirs.parameters())

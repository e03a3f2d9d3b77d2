"""The configs of MaX-DeepLab say what its authors train in deeplab2."""

import pytest

from d2_psformer.engine import load_config

NAMES = [f"coco/max_deeplab_{variant}_{size}" for variant in "SL" for size in (641, 1025)]


@pytest.mark.parametrize("name", NAMES)
def test_training(name):
    cfg = load_config(name)
    solver = cfg.SOLVER
    assert (solver.OPTIMIZER, solver.WEIGHT_DECAY) == ("ADAM", 0)
    assert (1e-3 if "_S_" in name else 3e-4) == solver.BASE_LR
    assert (solver.IMS_PER_BATCH, solver.MAX_ITER) == (64, 100_000)
    assert (solver.LR_SCHEDULER_NAME, solver.POLY_LR_POWER) == ("WarmupThenPolyLR", 0.9)
    warmup = solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.WARMUP_METHOD
    assert warmup == (5000, 0, "linear")
    assert not solver.CLIP_GRADIENTS.ENABLED
    loss, own = cfg.MODEL.LOSS, cfg.MODEL.MAX_DEEPLAB
    weights = loss.PQ_WEIGHT, loss.MASK_ID_WEIGHT, loss.INSTANCE_WEIGHT, loss.SEMANTIC_WEIGHT
    assert weights == (3, 0.3, 1, 1)
    assert (own.POSITIVE_SHARE, own.TEMPERATURE, own.NEGATIVE_WEIGHT) == (0.75, 0.3, "void_share")
    assert (1 if "_S_" in name else 3, 4096) == (own.SMALL_THING_WEIGHT, own.SMALL_THING_AREA)
    assert pytest.approx(1 - 0.8) == cfg.MODEL.BACKBONE.DROP_PATH


@pytest.mark.parametrize("name", NAMES)
def test_images_and_results(name):
    cfg = load_config(name)
    size = int(name.rpartition("_")[2])
    recipe, node = cfg.INPUT.DEEPLAB2, cfg.MODEL.POSTPROCESSING
    assert (True, size) == (recipe.ENABLED, recipe.SIZE)
    assert (recipe.MIN_SCALE, recipe.MAX_SCALE, recipe.STEPS) == (0.5, 1.5, 10)
    assert {*cfg.MODEL.PIXEL_MEAN, *cfg.MODEL.PIXEL_STD} == {127.5}
    assert (node.MERGING, node.SCORE_THRESHOLD, node.MASK_THRESHOLD) == ("max_deeplab", 0.7, 0.4)
    limits = node.THING_AREA_LIMIT, node.STUFF_AREA_LIMIT
    assert limits == ((100, 1600) if size == 641 else (256, 4096))
    assert all(node[key] for key in ("PANOPTIC_ON", "SEMANTIC_ON", "INSTANCE_ON"))

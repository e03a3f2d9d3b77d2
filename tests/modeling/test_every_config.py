"""Every model of configs/ at its full size: one forward pass and one step of its own training.

Nothing is made smaller but the image, 64x96 pixels: channels, layers and classes are those of the
config. Weights are random. New files in configs/ are found by themselves.
"""

import math
import re

import numpy as np
import pytest
import torch
from small_models import sample

import d2_psformer.data.public
import d2_psformer.modeling  # noqa: F401  both register by being imported
from d2_psformer.classes import Classes
from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.data import transforms as T
from d2_psformer.d2.modeling import build_model
from d2_psformer.data import build_augmentation
from d2_psformer.engine import load_config
from d2_psformer.engine.optimizer import build_gradient_clipper, build_optimizer
from d2_psformer.engine.train_step import TrainStep, amp_dtype
from d2_psformer.model_zoo import list_configs

NAMES = list_configs()
# Models that differ from one with a smaller backbone, or for other data, by a few numbers.
SLOW = re.compile(
    r"mask2?former.*Swin[SB]|mask2?former_(instance|semantic)_R50|SwinL|R101|_L_|eomt_B|dinov3|PVT|1025|DETR"
)
STEPS = [pytest.param(n, marks=pytest.mark.slow) if SLOW.search(n) else n for n in NAMES]
HEIGHT, WIDTH = 64, 96


def read(name: str) -> CfgNode:
    cfg = load_config(name, ["MODEL.DEVICE", "cpu"])
    if cfg.DATASETS.TRAIN[0] == "few":  # named on the command line
        cfg.DATASETS.TRAIN = ("coco_2017_train_panoptic",)
    cfg.MODEL.SIZE_DIVISIBILITY = min(cfg.MODEL.SIZE_DIVISIBILITY, 64)  # EoMT's is the canvas
    return cfg


def data_of_model(cfg: CfgNode) -> dict:
    """An image with two things and two kinds of stuff, where the config's data set has them."""
    layout = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    things, stuff = layout.thing_ids, layout.stuff_ids
    return sample(HEIGHT, WIDTH, [*things[-1:], *stuff[-2:], *things[:1]])


def check_results(output: dict, node: CfgNode) -> None:
    """Each of the results that the config asks for, and no other."""
    kinds = {"panoptic_seg": "PANOPTIC_ON", "sem_seg": "SEMANTIC_ON", "instances": "INSTANCE_ON"}
    assert output.keys() == {result for result, key in kinds.items() if node[key]}
    if node.PANOPTIC_ON:
        ids, segments_info = output["panoptic_seg"]
        assert ids.shape == (HEIGHT, WIDTH)
        assert {s["id"] for s in segments_info} == set(ids.unique().tolist()) - {0}
    if node.SEMANTIC_ON:
        assert output["sem_seg"].shape[1:] == (HEIGHT, WIDTH)
    if node.INSTANCE_ON:
        assert output["instances"].pred_masks.shape[1:] == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", STEPS)
def test_forward_and_one_training_step(name):
    cfg = read(name)
    torch.manual_seed(0)
    model = build_model(cfg)
    inputs = data_of_model(cfg)

    with torch.no_grad():
        (output,) = model.eval()([inputs])
    check_results(output, cfg.MODEL.POSTPROCESSING)

    optimizer = build_optimizer(cfg, model.train())
    before = {n: p.detach().flatten()[:9].clone() for n, p in model.named_parameters()}
    # float16 begins with a loss scale that is too high, and skips the step
    clip, dtype = build_gradient_clipper(cfg), amp_dtype(cfg) and torch.bfloat16
    step = TrainStep(model, optimizer, clip=clip, amp_dtype=dtype)
    batches = [[inputs]] * min(cfg.SOLVER.ACCUMULATION_STEPS, 2)
    metrics = step(batches, iteration=0)
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["total_loss"] > 0 and metrics["grad_norm"] > 0
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {n for n, p in model.named_parameters() if p.grad is not None}
    after = {n: p.detach().flatten()[:9] for n, p in model.named_parameters()}
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    assert moved <= learning
    # not all: behind a batch norm that starts at zero there is no gradient in the first step
    assert {n.split(".")[0] for n in moved} == {n.split(".")[0] for n in learning}


@pytest.mark.parametrize("name", NAMES)
def test_augmentation(name):
    """Images of training and of evaluation get the sizes that the config names."""
    cfg = read(name)
    image = np.zeros((120, 160, 3), np.uint8)
    for is_train, short, long in (
        (True, cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN),
        (False, [cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST),
    ):
        augmented = T.AugInput(image)
        T.AugmentationList(build_augmentation(cfg, is_train))(augmented)
        sides = sorted(augmented.image.shape[:2])
        if cfg.INPUT.DEEPLAB2.ENABLED:
            assert sides == [cfg.INPUT.DEEPLAB2.SIZE] * 2
        elif is_train and cfg.INPUT.LARGE_SCALE_JITTER.ENABLED:
            assert sides == [cfg.INPUT.LARGE_SCALE_JITTER.SIZE] * 2
        elif is_train and cfg.INPUT.SIZE_DIVISIBILITY > 0:
            assert sides == [cfg.INPUT.SIZE_DIVISIBILITY] * 2
        elif is_train and cfg.INPUT.CROP.TYPE == "absolute":
            assert np.less_equal(sides, sorted(cfg.INPUT.CROP.SIZE)).all()
        else:
            unchanged = list(short) == [0]
            assert sides == [120, 160] if unchanged else sides[0] in short or sides[1] == long

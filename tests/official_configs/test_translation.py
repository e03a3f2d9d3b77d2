"""Configs with the keys of the official MaskFormer and Mask2Former, read as they are."""

import logging

import pytest
import yaml

from d2_psformer.engine import load_config
from d2_psformer.model_zoo import get_config_file, list_configs
from d2_psformer.official_configs import translate_official
from d2_psformer.utils.errors import UserError

MASK2FORMER = """
MODEL:
  META_ARCHITECTURE: "MaskFormer"
  WEIGHTS: "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
  BACKBONE: {NAME: build_resnet_backbone, FREEZE_AT: 0}
  RESNETS: {DEPTH: 50, NORM: SyncBN, STEM_TYPE: basic, RES5_MULTI_GRID: [1, 1, 1]}
  SEM_SEG_HEAD:
    NAME: MaskFormerHead
    IN_FEATURES: [res2, res3, res4, res5]
    PIXEL_DECODER_NAME: MSDeformAttnPixelDecoder
    DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES: [res3, res4, res5]
    TRANSFORMER_ENC_LAYERS: 5
    MASK_DIM: 128
  MASK_FORMER:
    TRANSFORMER_DECODER_NAME: MultiScaleMaskedTransformerDecoder
    TRANSFORMER_IN_FEATURE: multi_scale_pixel_decoder
    CLASS_WEIGHT: 2.0
    MASK_WEIGHT: 5.0
    DROPOUT: 0.0
    DEC_LAYERS: 8
    NUM_OBJECT_QUERIES: 70
    TRAIN_NUM_POINTS: 1000
    TEST:
      PANOPTIC_ON: True
      INSTANCE_ON: True
      OVERLAP_THRESHOLD: 0.75
      OBJECT_MASK_THRESHOLD: 0.6
DATASETS:
  TRAIN: ("coco_2017_train_panoptic",)
  TEST: ("coco_2017_val_panoptic_with_sem_seg",)
SOLVER: {BACKBONE_MULTIPLIER: 0.2, WARMUP_FACTOR: 1e-6, AMP: {ENABLED: True}}
INPUT: {DATASET_MAPPER_NAME: coco_panoptic_lsj, IMAGE_SIZE: 512, MIN_SCALE: 0.2}
VERSION: 2
"""
MASKFORMER = """
MODEL:
  META_ARCHITECTURE: MaskFormer
  WEIGHTS: swin_base_patch4_window12_384_22k.pkl
  BACKBONE: {NAME: D2SwinTransformer}
  SWIN:
    EMBED_DIM: 128
    DEPTHS: [2, 2, 18, 2]
    NUM_HEADS: [4, 8, 16, 32]
    WINDOW_SIZE: 12
    APE: False
  SEM_SEG_HEAD:
    NAME: MaskFormerHead
    PIXEL_DECODER_NAME: TransformerEncoderPixelDecoder
    TRANSFORMER_ENC_LAYERS: 6
  MASK_FORMER:
    TRANSFORMER_IN_FEATURE: transformer_encoder
    SIZE_DIVISIBILITY: 0
    TEST: {PANOPTIC_ON: True, OVERLAP_THRESHOLD: 0.8}
SOLVER: {BACKBONE_MULTIPLIER: 1.0}
INPUT:
  DATASET_MAPPER_NAME: detr_panoptic
  CROP: {ENABLED: True, TYPE: absolute_range, SIZE: "(300, 500)"}
"""
PER_PIXEL = """
MODEL:
  META_ARCHITECTURE: SemanticSegmentor
  SEM_SEG_HEAD: {NAME: PerPixelBaselinePlusHead, NUM_CLASSES: 150}
INPUT:
  MIN_SIZE_TRAIN: !!python/object/apply:eval ["[int(x * 0.1 * 512) for x in range(5, 21)]"]
  CROP:
    ENABLED: True
    TYPE: absolute
    SIZE: (512, 512)
    SINGLE_CATEGORY_MAX_AREA: 0.75
  COLOR_AUG_SSD: True
  SIZE_DIVISIBILITY: 512
  DATASET_MAPPER_NAME: mask_former_semantic
"""


@pytest.fixture
def read(tmp_path):
    """A function from the text of a config, and of its base, to the config."""

    def read(text: str, base: str = "{}"):
        (tmp_path / "base.yaml").write_text(base)
        (tmp_path / "config.yaml").write_text(f"_BASE_: base.yaml\n{text}")
        return load_config(str(tmp_path / "config.yaml"))

    return read


def test_mask2former(read):
    cfg = read("MODEL: {RESNETS: {DEPTH: 101}}\nOUTPUT_DIR: here", base=MASK2FORMER)
    model, pixels, queries = cfg.MODEL, cfg.MODEL.PIXEL_DECODER, cfg.MODEL.TRANSFORMER_DECODER
    assert (model.META_ARCHITECTURE, cfg.OUTPUT_DIR) == ("Mask2Former", "here")
    node = model.BACKBONE
    assert (node.NAME, node.TIMM_NAME, node.PRETRAINED) == ("TimmBackbone", "resnet101", "tv_in1k")
    assert (node.NORM, node.FREEZE_AT, model.WEIGHTS) == ("SyncBN", 0, "")
    assert (pixels.LAYERS, pixels.NUM_LEVELS, pixels.DIM_FEEDFORWARD) == (5, 3, 1024)
    assert (pixels.DIM, pixels.MASK_DIM, pixels.DROPOUT) == (256, 128, 0)
    assert (queries.LAYERS, queries.NUM_QUERIES, queries.DIM_FEEDFORWARD) == (7, 70, 2048)
    loss = model.LOSS
    assert (loss.CLASS_WEIGHT, loss.MASK_WEIGHT, loss.DICE_WEIGHT) == (2, 5, 1)
    assert (loss.NUM_POINTS, loss.OVERSAMPLE_RATIO) == (1000, 3)
    post = model.POSTPROCESSING
    assert (post.PANOPTIC_ON, post.SEMANTIC_ON, post.INSTANCE_ON) == (True, True, True)
    assert (post.MERGING, post.SCORE_THRESHOLD) == ("mask2former", 0.6)
    assert post.THING_OVERLAP_THRESHOLD == post.STUFF_OVERLAP_THRESHOLD == 0.25
    assert model.SIZE_DIVISIBILITY == 32
    assert cfg.DATASETS.TEST == ("coco_2017_val_panoptic",)
    jitter = cfg.INPUT.LARGE_SCALE_JITTER
    assert (jitter.ENABLED, jitter.SIZE, jitter.MIN_SCALE) == (True, 512, 0.2)
    assert list(cfg.SOLVER.LR_MULTIPLIERS) == [["backbone", 0.2]]
    assert (cfg.SOLVER.WARMUP_FACTOR, cfg.SOLVER.WEIGHT_DECAY_NORM) == (1e-6, 0)
    assert cfg.SOLVER.AMP.ENABLED


def test_maskformer(read):
    cfg = read(MASKFORMER)
    assert not cfg.SOLVER.AMP.ENABLED
    model, pixels, queries = cfg.MODEL, cfg.MODEL.PIXEL_DECODER, cfg.MODEL.TRANSFORMER_DECODER
    assert (model.META_ARCHITECTURE, model.SIZE_DIVISIBILITY) == ("MaskFormer", 0)
    node = model.BACKBONE
    assert node.TIMM_NAME == "swin_base_patch4_window12_384" and node.PRETRAINED == "ms_in22k"
    assert node.DROP_PATH == 0.3
    assert (pixels.LAYERS, pixels.DIM_FEEDFORWARD, pixels.DROPOUT) == (6, 2048, 0.1)
    assert (queries.LAYERS, queries.DROPOUT) == (6, 0.1)
    loss = model.LOSS
    assert (loss.CLASS_WEIGHT, loss.MASK_WEIGHT, loss.DICE_WEIGHT) == (1, 20, 1)
    post = model.POSTPROCESSING
    assert (post.PANOPTIC_ON, post.SEMANTIC_ON, post.INSTANCE_ON) == (True, True, False)
    assert (post.MERGING, post.SCORE_THRESHOLD) == ("maskformer", 0)
    assert list(cfg.SOLVER.LR_MULTIPLIERS) == [] and not cfg.INPUT.CROP.ENABLED
    assert cfg.INPUT.DETR_CROP.ENABLED and list(cfg.INPUT.DETR_CROP.SIZE) == [300, 500]


def test_encoder_layers_of_a_plain_pixel_decoder_are_not_used(read):
    cfg = read("MODEL: {SEM_SEG_HEAD: {PIXEL_DECODER_NAME: BasePixelDecoder}}", base=MASKFORMER)
    assert cfg.MODEL.PIXEL_DECODER.LAYERS == 0


def test_per_pixel_baseline(read):
    cfg = read(PER_PIXEL)
    assert cfg.MODEL.META_ARCHITECTURE == "PerPixelBaselinePlus"
    assert (cfg.MODEL.SIZE_DIVISIBILITY, cfg.MODEL.BACKBONE.NORM) == (0, "FrozenBN")
    post = cfg.MODEL.POSTPROCESSING
    assert (post.PANOPTIC_ON, post.SEMANTIC_ON) == (False, True)
    node = cfg.INPUT
    assert list(node.MIN_SIZE_TRAIN) == [int(x * 0.1 * 512) for x in range(5, 21)]
    assert list(node.CROP.SIZE) == [512, 512] and node.CROP.SINGLE_CATEGORY_MAX_AREA == 0.75
    assert (node.COLOR_AUG_SSD, node.SIZE_DIVISIBILITY) == (True, 512)


def test_instance_data_give_instances_alone(read):
    cfg = read(
        "INPUT: {DATASET_MAPPER_NAME: mask_former_instance}",
        base=MASK2FORMER.replace("IMAGE_SIZE: 512, MIN_SCALE: 0.2", ""),
    )
    post = cfg.MODEL.POSTPROCESSING
    assert (post.PANOPTIC_ON, post.SEMANTIC_ON, post.INSTANCE_ON) == (False, False, True)


@pytest.mark.parametrize(
    "expression",
    [
        "[x for x in range(3)]",
        "__import__('os').mkdir('FOLDER')",
        "[int(x * 0.1 * 512) for x in range(5, 21)] + [open('FOLDER', 'w')]",
    ],
)
def test_nothing_else_is_evaluated(read, tmp_path, expression):
    folder = tmp_path / "made"
    expression = expression.replace("FOLDER", str(folder))
    with pytest.raises(UserError, match=r"no safe YAML .*python/object"):
        read(f'SEED: !!python/object/apply:eval ["{expression}"]')
    assert not folder.exists()


@pytest.mark.parametrize(
    ("encoded", "levels"), [("[res4, res5]", 2), ("[res2, res3, res4, res5]", 4)]
)
def test_other_levels_of_the_deformable_encoder(read, caplog, encoded, levels):
    cfg = read(MASK2FORMER.replace("[res3, res4, res5]", encoded))
    assert levels == cfg.MODEL.PIXEL_DECODER.NUM_LEVELS
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_levels_that_are_not_the_coarsest_are_named(read, caplog):
    read(MASK2FORMER.replace("[res3, res4, res5]", "[res3, res4]"))
    assert "ENCODER_IN_FEATURES ['res3', 'res4']" in caplog.text


WRONG = {
    "MASK_FORMER: {TRAIN_NUM_POINTS: 5}": (
        MASKFORMER, "MaskFormer and of Mask2Former: .*EncoderPixelDecoder and .*TRAIN_NUM_POINTS"
    ),
    "{META_ARCHITECTURE: SemanticSegmentor, SEM_SEG_HEAD: {NAME: PerPixelBaselineHead}}": (
        MASK2FORMER, "mixes keys of MaskFormer and of Mask2Former"
    ),
    "PIXEL_DECODER: {LAYERS: 2}": (
        MASK2FORMER, r"mixes keys of this project .*PIXEL_DECODER\.LAYERS and MODEL"
    ),
    "META_ARCHITECTURE: Mask2Former": (
        MASK2FORMER, "Mask2Former, which the official files call MaskFormer, beside their keys"
    ),
    "META_ARCHITECTURE: VideoMaskFormer": (MASK2FORMER, "VideoMaskFormer .* is not here"),
    "SEM_SEG_HEAD: {PIXEL_DECODER_NAME: MyDecoder}": (MASK2FORMER, "PIXEL_DECODER_NAME MyDecoder"),
    "BACKBONE: {NAME: build_resnet_deeplab_backbone}": (MASK2FORMER, "resnet_deeplab_backbone"),
    "SWIN: {EMBED_DIM: 100}": (MASKFORMER, "Swin .*100"),
    "MASK_FORMER: {TEST: {OVERLAP_THRESHOLD: high}}": (
        MASKFORMER, "OVERLAP_THRESHOLD has a wrong value"
    ),
    "MASK_FORMER: {NHEADS: 8}": ("{}", r"has no MODEL\.META_ARCHITECTURE"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "base", "sentence"), [(k, *v) for k, v in WRONG.items()])
def test_what_cannot_be_translated_is_one_sentence(read, base, text, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        read(f"MODEL:\n  {text}" if text[0] != "{" else f"MODEL: {text}", base=base)
    assert "config.yaml" in str(refused.value) and "\n" not in str(refused.value)


def test_what_was_translated_is_logged_and_what_was_not_is_named(read, caplog):
    caplog.set_level(logging.INFO, logger="d2_psformer.official_configs")
    read("MODEL: {MASK_FORMER: {PRE_NORM: True, NEW_KEY: 3, ENC_LAYERS: 0}}", base=MASK2FORMER)
    told, warned = caplog.records
    assert told.levelname == "INFO" and "official Mask2Former" in told.getMessage()
    assert "MODEL.MASK_FORMER.DEC_LAYERS" in told.getMessage()
    assert warned.levelname == "WARNING"
    assert "PRE_NORM True; MODEL.MASK_FORMER.NEW_KEY 3." in warned.getMessage()
    assert "ENC_LAYERS" not in warned.getMessage()


@pytest.mark.parametrize("name", list_configs())
def test_our_own_configs_are_left_alone(name):
    loaded = load_config(name)
    assert translate_official(yaml.safe_load(loaded.dump()), get_config_file(name)) is None

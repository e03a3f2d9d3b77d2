"""Keys of data and augmentation."""

from ..d2.config import CfgNode as CN


def add_data_keys(cfg: CN) -> None:
    # Own data, a list of entries.
    # Panoptic: [name, image folder, panoptic JSON, PNG folder]. Without ground truth the JSON has
    # "images" alone and the PNG folder is "": to predict only.
    # Semantic: [name, image folder, label folder, [class names]].
    # Instances: [name, image folder, instance JSON].
    cfg.DATASETS.REGISTER = []
    # An image, or its annotation, that cannot be read ends the run ("raise") or is left out
    # ("skip"): at most MAX_SKIPPED images of a training, and as many of an evaluation. Training
    # takes the next image instead. AP counts the objects of an image left out as not found.
    cfg.DATALOADER.ON_ERROR = "raise"
    cfg.DATALOADER.MAX_SKIPPED = 100
    # DETR's crop before the resize, in half of the samples (Panoptic SegFormer, MaskFormer).
    cfg.INPUT.DETR_CROP = CN()
    cfg.INPUT.DETR_CROP.ENABLED = False
    # Short sides to choose from before the crop, pixels.
    cfg.INPUT.DETR_CROP.RESIZE = [400, 500, 600]
    # Smallest and largest side of the crop, pixels.
    cfg.INPUT.DETR_CROP.SIZE = [384, 600]
    # Large-scale jitter of Mask2Former, instead of MIN_SIZE_TRAIN and a crop: fit the image into
    # SIZE x SIZE pixels times a random scale, then crop or pad it to SIZE x SIZE.
    cfg.INPUT.LARGE_SCALE_JITTER = CN()
    cfg.INPUT.LARGE_SCALE_JITTER.ENABLED = False
    cfg.INPUT.LARGE_SCALE_JITTER.MIN_SCALE = 0.1
    cfg.INPUT.LARGE_SCALE_JITTER.MAX_SCALE = 2.0
    cfg.INPUT.LARGE_SCALE_JITTER.SIZE = 1024
    # The recipe of deeplab2, instead of MIN_SIZE_TRAIN, MIN_SIZE_TEST and a crop: resize the long
    # side to SIZE pixels; in training also resize by one of STEPS scales, and crop or pad to SIZE x
    # SIZE; in inference pad to that, right and bottom.
    cfg.INPUT.DEEPLAB2 = CN()
    cfg.INPUT.DEEPLAB2.ENABLED = False
    cfg.INPUT.DEEPLAB2.SIZE = 641
    cfg.INPUT.DEEPLAB2.MIN_SCALE = 0.5
    cfg.INPUT.DEEPLAB2.MAX_SCALE = 1.5
    cfg.INPUT.DEEPLAB2.STEPS = 10
    # INPUT.CROP (of TYPE "absolute" after the resize, else before it) is tried again, ten times in
    # all, while one class covers this share of it or more; 1: the first crop is taken.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    # Pad training images, right and bottom, to exactly this many pixels a side; -1: do not.
    cfg.INPUT.SIZE_DIVISIBILITY = -1
    # Segments that a crop left without a pixel stay in the ground truth, as empty masks (so do the
    # official MaskFormer and Mask2Former with panoptic data).
    cfg.INPUT.KEEP_EMPTY_SEGMENTS = False
    # Jitter of brightness, contrast, saturation and hue (SSD).
    cfg.INPUT.COLOR_AUG_SSD = False
    # Shuffle the three colour channels of every training image (colour without meaning).
    cfg.INPUT.CHANNEL_SHUFFLE = False
    # Whose panoptic quality to report: "ours" (exact, no temporary files) or "detectron2".
    cfg.TEST.PANOPTIC_EVALUATOR = "ours"

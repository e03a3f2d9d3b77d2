"""Keys of models that architectures share."""

from ..d2.config import CfgNode as CN


def add_backbone_keys(node: CN) -> None:
    # timm model name, used by the backbone "TimmBackbone".
    node.TIMM_NAME = "resnet50"
    # timm tag of the pretrained weights that training starts from, e.g. "tv_in1k"; "" for none.
    node.PRETRAINED = ""
    # File with backbone weights (timm, torchvision, PVT, Swin), used instead of PRETRAINED.
    node.WEIGHTS = ""
    # Batch norms of the backbone, in MaX-DeepLab of the heads too: "BN", "FrozenBN" (statistics and
    # parameters stay as they are) or "SyncBN" (statistics over the images of all processes; GPUs
    # only).
    node.NORM = "BN"
    # Stochastic depth rate of the backbone.
    node.DROP_PATH = 0.0


def add_decoder_keys(model: CN) -> None:
    # Parts that compute their activations again in the backward pass instead of keeping them, for
    # less memory and more time: any of "backbone", "pixel_decoder", "transformer_decoder".
    model.CHECKPOINTING = []
    # torch.compile the backbone and the decoders: minutes at the start, then less time a step.
    model.COMPILE = False
    # Images are padded to a multiple of this many pixels, and of what the backbone needs; in
    # MaX-DeepLab to one pixel more.
    model.SIZE_DIVISIBILITY = 0
    # What images are padded with, from 0 (black) to 255; None: the mean, in training 128 where
    # augmentation pads. INPUT.DEEPLAB2 has its own.
    model.PADDING_VALUE = None
    # Type of autocast in inference: "float32" (none), "bfloat16", "float16", or "auto": bfloat16
    # where the device is fast with it, but float32 on a CPU for images with a side below 128
    # pixels, and in evaluation, so that figures compare.
    model.AUTOCAST = "auto"
    node = model.PIXEL_DECODER = CN()
    # Backbone features to read, fine to coarse.
    node.IN_FEATURES = ["res3", "res4", "res5"]
    # Levels of the result; those beyond IN_FEATURES come from stride-2 convolutions. In Mask2Former
    # finer features than these only make the mask features.
    node.NUM_LEVELS = 4
    # Channels of the levels and of the queries.
    node.DIM = 256
    # Channels of the mask features, which queries are multiplied with (MaskFormer, Mask2Former).
    node.MASK_DIM = 256
    # Encoder layers; 0: none, the levels are the projected backbone features.
    node.LAYERS = 6
    # Attention heads.
    node.HEADS = 8
    # Sampling points a head and level of deformable attention, in transformer decoders too.
    node.POINTS = 4
    # Hidden channels of the feed-forward layers.
    node.DIM_FEEDFORWARD = 1024
    node.DROPOUT = 0.1
    node = model.TRANSFORMER_DECODER = CN()
    # Queries; of things alone where stuff has queries of its own. PerPixelBaselinePlus has one of
    # each class.
    node.NUM_QUERIES = 300
    # Layers; of the location decoder in Panoptic SegFormer. Mask2Former's authors count one more.
    node.LAYERS = 6
    # Attention heads.
    node.HEADS = 8
    # Hidden channels of the feed-forward layers.
    node.DIM_FEEDFORWARD = 1024
    node.DROPOUT = 0.1


def add_loss_keys(model: CN) -> None:
    # Weights of the losses, used as matching costs too (cost and loss of one kind share a key).
    node = model.LOSS = CN()
    # Loss of the classes: focal, or cross-entropy in MaskFormer and Mask2Former.
    node.CLASS_WEIGHT = 2.0
    # Weight of the class "no object" in that cross-entropy.
    node.NO_OBJECT_WEIGHT = 0.1
    # With several processes that cross-entropy is a mean over the queries of each ("local", as in
    # the official MaskFormer and Mask2Former) or of all ("global": they learn what one would).
    node.CLASS_NORMALIZER = "local"
    # Loss of every pixel: focal in MaskFormer, binary cross-entropy in Mask2Former.
    node.MASK_WEIGHT = 5.0
    # L1 loss of the boxes (Panoptic SegFormer).
    node.BOX_WEIGHT = 5.0
    # Generalised IoU of the boxes (Panoptic SegFormer).
    node.GIOU_WEIGHT = 2.0
    # Dice loss of the masks.
    node.DICE_WEIGHT = 2.0
    # Focal loss, of classes in Panoptic SegFormer and of pixels in MaskFormer: balance of positives
    # and focusing exponent.
    node.FOCAL_ALPHA = 0.25
    node.FOCAL_GAMMA = 2.0
    # The masks of every layer have a loss, not only the last ones; so do the classes in MaskFormer
    # and Mask2Former.
    node.DEEP_SUPERVISION = True
    # Mask2Former compares masks at this many points, ...
    node.NUM_POINTS = 12544
    # ... of which the second share are the least certain ones of the first factor's many.
    node.OVERSAMPLE_RATIO = 3.0
    node.IMPORTANCE_SAMPLE_RATIO = 0.75
    # Padded pixels take part in the losses of masks, as in the official MaskFormer and Mask2Former.
    node.COUNT_PADDING = False
    # Of queries in MaskFormer and Mask2Former: "hungarian", or "fixed": query k belongs to class k
    # (semantic segmentation only).
    node.MATCHING = "hungarian"
    # Losses of MaX-DeepLab: of matched classes and masks, of the slot of every pixel, of the
    # pixels' embedding, of the pixels' classes. A loss of weight 0 is not computed.
    node.PQ_WEIGHT = 3.0
    node.MASK_ID_WEIGHT = 0.3
    node.INSTANCE_WEIGHT = 1.0
    node.SEMANTIC_WEIGHT = 1.0


def add_postprocessing_keys(model: CN) -> None:
    node = model.POSTPROCESSING = CN()
    # Which results one forward pass returns.
    node.PANOPTIC_ON = True
    node.SEMANTIC_ON = False
    node.INSTANCE_ON = False
    # Semantic results alone: the mean of those of square windows of so many pixels a side, spread
    # over the long side of an image (EoMT); INPUT.MIN_SIZE_TEST is the same. 0: none.
    node.WINDOW = 0
    # From masks to segments: "mask_wise" (Panoptic SegFormer, algorithm 1), "pixel_argmax" (the
    # highest mask), "maskformer" (the highest product of class probability and mask),
    # "mask2former" (the same, but a segment gets no pixels outside its own mask) or "max_deeplab"
    # (the largest share of the pixel, void if that is a query of a low score).
    node.MERGING = "mask_wise"
    # Segments of a lower score are dropped: p^alpha q^beta in "mask_wise", else p.
    node.SCORE_THRESHOLD = 0.25
    # alpha and beta, the powers of class probability p and mask quality q.
    node.CLASS_POWER = 1.0
    node.MASK_POWER = 2.0
    # A pixel belongs to a mask when its value in the mask is above this; in "max_deeplab" when its
    # share is, of those queries alone that reach SCORE_THRESHOLD.
    node.MASK_THRESHOLD = 0.5
    # Drop a segment when more than this share of it is already taken ("maskformer", "mask2former":
    # is lost to others; "pixel_argmax" drops none).
    node.THING_OVERLAP_THRESHOLD = 0.4
    node.STUFF_OVERLAP_THRESHOLD = 0.2
    # Drop segments of fewer pixels of the canvas ("max_deeplab").
    node.THING_AREA_LIMIT = 0
    node.STUFF_AREA_LIMIT = 0

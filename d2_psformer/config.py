"""Every config key that this project adds to Detectron2's, declared once with its meaning."""

from .d2.config import CfgNode as CN


def add_psformer_config(cfg: CN) -> None:
    """Add this project's keys and defaults to a Detectron2 config, in place."""
    _add_data_keys(cfg)
    _add_backbone_keys(cfg.MODEL.BACKBONE)
    _add_decoder_keys(cfg.MODEL)
    _add_loss_keys(cfg.MODEL)
    _add_postprocessing_keys(cfg.MODEL)
    _add_psformer_keys(cfg.MODEL)
    _add_max_deeplab_keys(cfg.MODEL)
    _add_solver_keys(cfg)
    moved = {f"TEST.{key}": f"MODEL.POSTPROCESSING.{key}" for key in cfg.MODEL.POSTPROCESSING}
    moved |= {f"LOSS.{key}": f"MODEL.LOSS.{key}" for key in cfg.MODEL.LOSS}
    for old, new in (moved | RENAMED).items():
        cfg.register_renamed_key(f"MODEL.PSFORMER.{old}", new)
    cfg.register_renamed_key(
        "MODEL.BACKBONE.FREEZE_BN", "MODEL.BACKBONE.NORM", "FREEZE_BN True is NORM FrozenBN."
    )


def _add_data_keys(cfg: CN) -> None:
    # Own data, a list of entries.
    # Panoptic: [name, image folder, panoptic JSON, PNG folder]. Without ground truth the JSON has
    # "images" alone and the PNG folder is "": to predict only.
    # Semantic: [name, image folder, label folder, [class names]].
    # Instances: [name, image folder, instance JSON].
    cfg.DATASETS.REGISTER = []
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


def _add_backbone_keys(node: CN) -> None:
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


def _add_decoder_keys(model: CN) -> None:
    # Parts that compute their activations again in the backward pass instead of keeping them, for
    # less memory and more time: any of "backbone", "pixel_decoder", "transformer_decoder".
    model.CHECKPOINTING = []
    # torch.compile the backbone and the decoders: minutes at the start, then less time a step.
    model.COMPILE = False
    # Images are padded to a multiple of this many pixels, and of what the backbone needs.
    model.SIZE_DIVISIBILITY = 0
    # Type of autocast in inference: "float32" (none), "bfloat16", "float16", or "auto": bfloat16
    # where the device is fast with it, but float32 in evaluation, so that figures compare.
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


def _add_loss_keys(model: CN) -> None:
    # Weights of the losses, used as matching costs too (cost and loss of one kind share a key).
    node = model.LOSS = CN()
    # Loss of the classes: focal, or cross-entropy in MaskFormer and Mask2Former.
    node.CLASS_WEIGHT = 2.0
    # Weight of the class "no object" in that cross-entropy.
    node.NO_OBJECT_WEIGHT = 0.1
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


def _add_postprocessing_keys(model: CN) -> None:
    node = model.POSTPROCESSING = CN()
    # Which results one forward pass returns.
    node.PANOPTIC_ON = True
    node.SEMANTIC_ON = False
    node.INSTANCE_ON = False
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


def _add_psformer_keys(model: CN) -> None:
    node = model.PSFORMER = CN()
    # Mask decoder blocks before the final attention, for things and for stuff.
    node.THING_MASK_LAYERS = 4
    node.STUFF_MASK_LAYERS = 6
    # Stuff has queries of its own; else one set of queries is matched with all segments.
    node.QUERY_DECOUPLING = True
    # The best (query, class) pairs of things that get a mask in inference.
    node.TOPK = 100
    # Inference ends after this block of the mask decoders; 0: after the final attention.
    node.EXIT_AFTER = 0
    # Weight of the class loss of stuff.
    node.STUFF_CLASS_WEIGHT = 4.0
    # Class cost of the second matching, the one with masks.
    node.MASK_MATCH_CLASS_COST = 4.0
    # First reference points: "learned" (Deformable DETR) or "grid" (start on a regular grid).
    node.REFERENCE_INIT = "learned"
    # Class probability that every classifier starts from (-4.595 as a bias is 0.01).
    node.CLASS_PRIOR = 0.01
    # Side of the first predicted boxes as a fraction of the image (-2 as a bias is 0.12).
    node.BOX_SIZE_PRIOR = 0.12


def _add_max_deeplab_keys(model: CN) -> None:
    # The queries are the memory's slots: their number, the heads and the hidden channels of the
    # memory's feed-forward layers stand in TRANSFORMER_DECODER, the channels of the heads of pixels
    # and of the embeddings in PIXEL_DECODER (DIM, MASK_DIM).
    node = model.MAX_DEEPLAB = CN()
    # "S" or "L".
    node.VARIANT = "S"
    # Ways up and down in the decoder before the last way up, L in the paper: 0 for S, 2 for L.
    node.DECODER_STACKS = 0
    # Factors on the channels at stride 2, and at the other strides.
    node.STEM_WIDTH = 1.0
    node.WIDTH = 1.0
    # Channels of the keys in dual-path layers at the end of the encoder (S 128, L 256), half of
    # them in the stage before, and so on.
    node.TRANSFORMER_WIDTH = 128
    # Stages with dual-path layers, decoder stages of their size included: [5] in S and [4, 5] in L;
    # [3, 4, 5] for stride 8 too.
    node.TRANSFORMER_STAGES = [5]
    # Attention that exists; the first reads the second, pixels (p) and memory (m). Without "p2p"
    # convolutions stand for axial attention.
    node.ATTENTION_PATHS = ["p2p", "p2m", "m2p", "m2m"]
    # Channels of the memory, and of what the heads get from it (S 256, L 512).
    node.MEMORY_DIM = 256
    node.FEATURE_DIM = 256
    # PQ-style loss: weight of the matched slots; the unmatched ones have the rest to 1, ...
    node.POSITIVE_SHARE = 0.75
    # ... times the share of their mask that lies on pixels without a class, "void_share" (the
    # authors' code), or 1, "constant" (the paper).
    node.NEGATIVE_WEIGHT = "void_share"
    # Of the similarity of embeddings, in the instance loss.
    node.TEMPERATURE = 0.3
    # Weight of the pixels of small things in the semantic loss, and how many pixels are not small.
    node.SMALL_THING_WEIGHT = 1.0
    node.SMALL_THING_AREA = 4096
    # The share of the pixels, the largest losses first, that these learn from: mask id, instance
    # and semantic loss.
    node.HARDEST_PIXELS = 1.0


def _add_solver_keys(cfg: CN) -> None:
    # [part of a parameter's name, factor on BASE_LR]; the first that fits is used.
    cfg.SOLVER.LR_MULTIPLIERS = [
        ["backbone", 0.1],
        ["sampling_offsets", 0.1],
        ["reference_points", 0.1],
    ]
    # Weight decay of norm layers, and of embeddings (modules of that type, absolute positions and
    # Swin's tables of relative ones); None: WEIGHT_DECAY. Detectron2's default would be 0.
    cfg.SOLVER.WEIGHT_DECAY_NORM = None
    cfg.SOLVER.WEIGHT_DECAY_EMBED = None
    # Schedules "WarmupPolyLR" and "WarmupThenPolyLR": the rate falls as
    # (1 - iteration / MAX_ITER) ** POWER, not below this share of the first one. The warm-up is
    # multiplied with it in the former, and stands in its place in the latter (deeplab2).
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0
    # "full_model": clip the norm over all parameters together, to CLIP_GRADIENTS.CLIP_VALUE.
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    # Forward-backward passes per optimizer step; IMS_PER_BATCH images are split over them.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # Autocast type when SOLVER.AMP.ENABLED: "float16" (with a gradient scaler) or "bfloat16".
    cfg.SOLVER.AMP.DTYPE = "float16"
    # "ADAMW", "ADAM" (as Keras has it; WEIGHT_DECAY is then an L2 penalty) or "SGD" (with
    # SOLVER.MOMENTUM and SOLVER.NESTEROV).
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Let MODEL.WEIGHTS be of another class count: layers whose shape differs start afresh.
    cfg.SOLVER.FINETUNE = False


_PIXEL, _QUERY = "MODEL.PIXEL_DECODER", "MODEL.TRANSFORMER_DECODER"
# Keys below MODEL.PSFORMER in files of earlier versions -> what to write instead.
RENAMED = {
    "IN_FEATURES": f"{_PIXEL}.IN_FEATURES",
    "NUM_FEATURE_LEVELS": f"{_PIXEL}.NUM_LEVELS",
    "HIDDEN_DIM": f"{_PIXEL}.DIM",
    "NUM_HEADS": f"{_PIXEL}.HEADS and {_QUERY}.HEADS",
    "NUM_POINTS": f"{_PIXEL}.POINTS",
    "DIM_FEEDFORWARD": f"{_PIXEL}.DIM_FEEDFORWARD and {_QUERY}.DIM_FEEDFORWARD",
    "DROPOUT": f"{_PIXEL}.DROPOUT and {_QUERY}.DROPOUT",
    "ENCODER": f"{_PIXEL}.LAYERS (0 for none)",
    "ENCODER_LAYERS": f"{_PIXEL}.LAYERS",
    "LOCATION_LAYERS": f"{_QUERY}.LAYERS",
    "NUM_QUERIES": f"{_QUERY}.NUM_QUERIES",
    "LOCATION_SUPERVISION": "MODEL.META_ARCHITECTURE (PanopticSegFormerV1 learns centres)",
    "CLASSIFY": "MODEL.META_ARCHITECTURE (PanopticSegFormerV1 classifies masks)",
    "MASK_SUPERVISION": "MODEL.LOSS.DEEP_SUPERVISION",
    "CHECKPOINTING": "MODEL.CHECKPOINTING",
    "COMPILE": "MODEL.COMPILE",
    "LOSS": "MODEL.LOSS (L1_WEIGHT is BOX_WEIGHT) and MODEL.PSFORMER",
    "TEST": "MODEL.POSTPROCESSING (TOPK is MODEL.PSFORMER.TOPK)",
    "TEST.TOPK": "MODEL.PSFORMER.TOPK",
    "TEST.MASK_LAYERS": "MODEL.PSFORMER.EXIT_AFTER",
    "TEST.AUTOCAST": "MODEL.AUTOCAST",
    "LOSS.L1_WEIGHT": "MODEL.LOSS.BOX_WEIGHT",
    "LOSS.STUFF_CLASS_WEIGHT": "MODEL.PSFORMER.STUFF_CLASS_WEIGHT",
    "LOSS.MASK_MATCH_CLASS_COST": "MODEL.PSFORMER.MASK_MATCH_CLASS_COST",
}

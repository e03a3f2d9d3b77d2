"""Every config key that this project adds to Detectron2's, declared once with its meaning."""

from .d2.config import CfgNode as CN


def add_psformer_config(cfg: CN) -> None:
    """Add this project's keys and defaults to a Detectron2 config, in place."""
    _add_data_keys(cfg)
    _add_backbone_keys(cfg)
    _add_model_keys(cfg)
    _add_loss_keys(cfg.MODEL.PSFORMER)
    _add_test_keys(cfg.MODEL.PSFORMER)
    _add_solver_keys(cfg)


def _add_data_keys(cfg: CN) -> None:
    # Own COCO-panoptic data: a list of [name, image folder, panoptic JSON, PNG folder].
    # Without ground truth the JSON has "images" alone and the PNG folder is "": to predict only.
    cfg.DATASETS.REGISTER = []
    # DETR-style crop before the resize, in half of the samples (paper, section 4.1).
    cfg.INPUT.DETR_CROP = CN()
    cfg.INPUT.DETR_CROP.ENABLED = False
    # Short sides to choose from before the crop, pixels.
    cfg.INPUT.DETR_CROP.RESIZE = [400, 500, 600]
    # Smallest and largest side of the crop, pixels.
    cfg.INPUT.DETR_CROP.SIZE = [384, 600]
    # Shuffle the three colour channels of every training image (colour without meaning).
    cfg.INPUT.CHANNEL_SHUFFLE = False
    # Whose panoptic quality to report: "ours" (exact, no temporary files) or "detectron2".
    cfg.TEST.PANOPTIC_EVALUATOR = "ours"


def _add_backbone_keys(cfg: CN) -> None:
    backbone = cfg.MODEL.BACKBONE
    # timm model name, used by the backbone "TimmBackbone".
    backbone.TIMM_NAME = "resnet50"
    # timm tag of the pretrained weights that training starts from, e.g. "tv_in1k"; "" for none.
    backbone.PRETRAINED = ""
    # File with backbone weights (timm, torchvision, PVT, Swin), used instead of PRETRAINED.
    backbone.WEIGHTS = ""
    # Keep the statistics and parameters of every batch norm of the backbone fixed.
    backbone.FREEZE_BN = False
    # Stochastic depth rate of the backbone.
    backbone.DROP_PATH = 0.0


def _add_model_keys(cfg: CN) -> None:
    cfg.MODEL.PSFORMER = CN()
    node = cfg.MODEL.PSFORMER
    # Backbone features, fine to coarse; the mask decoders attend to these levels.
    node.IN_FEATURES = ["res3", "res4", "res5"]
    # Levels of encoder and location decoder; extra ones come from stride-2 convolutions.
    node.NUM_FEATURE_LEVELS = 4
    # Channels of queries and memory.
    node.HIDDEN_DIM = 256
    # Attention heads everywhere.
    node.NUM_HEADS = 8
    # Sampling points per head and level of deformable attention.
    node.NUM_POINTS = 4
    # Hidden channels of the feed-forward layers of encoder and location decoder.
    node.DIM_FEEDFORWARD = 1024
    # Dropout of encoder and location decoder; the mask decoders have none.
    node.DROPOUT = 0.1
    # Attention of the encoder: "deformable" (over all levels), "single_scale" (deformable, within
    # each level), "attention" (plain, over all levels) or "none" (no encoder layers).
    node.ENCODER = "deformable"
    # Encoder layers.
    node.ENCODER_LAYERS = 6
    # Location decoder layers.
    node.LOCATION_LAYERS = 6
    # What the location decoder learns: "box" (L1 and GIoU, references refined layer by layer),
    # "centre" (centre of mass and size by L1, references that stay) or "none" (there is none:
    # learned queries go straight to the mask decoder).
    node.LOCATION_SUPERVISION = "box"
    # Where these queries are classified: "location" (in every layer of the location decoder; only
    # matched queries go on) or "mask" (after every block of the mask decoder; all go on).
    node.CLASSIFY = "location"
    # Fixed queries of stuff beside those of things; if not, one set is matched with all segments
    # (then NUM_QUERIES and THING_MASK_LAYERS are its own, and STUFF_MASK_LAYERS is not used).
    node.QUERY_DECOUPLING = True
    # Thing queries.
    node.NUM_QUERIES = 300
    # First reference points: "learned" (Deformable DETR) or "grid" (start on a regular grid).
    node.REFERENCE_INIT = "learned"
    # Mask decoder blocks before the tail, for things and for stuff.
    node.THING_MASK_LAYERS = 4
    node.STUFF_MASK_LAYERS = 6
    # Masks that learn: "all" (of every block and the tail) or "last" (of the tail).
    node.MASK_SUPERVISION = "all"
    # Mask decoders read no padded cells and have no mask there.
    node.MASK_PADDING = False
    # Class probability that every classifier starts from (-4.595 as a bias is 0.01).
    node.CLASS_PRIOR = 0.01
    # Side of the first predicted boxes as a fraction of the image (-2 as a bias is 0.12).
    node.BOX_SIZE_PRIOR = 0.12
    # Parts that compute their activations again in the backward pass instead of keeping them, for
    # less memory and more time: any of "backbone", "encoder", "mask_decoder".
    node.CHECKPOINTING = []
    # torch.compile backbone, encoder and decoders: minutes at the start, then less time a step.
    node.COMPILE = False


def _add_loss_keys(node: CN) -> None:
    node.LOSS = CN()
    # Weights of the losses, used as matching costs too (cost and loss of one kind share a key).
    node.LOSS.CLASS_WEIGHT = 2.0
    node.LOSS.STUFF_CLASS_WEIGHT = 4.0
    node.LOSS.L1_WEIGHT = 5.0
    node.LOSS.GIOU_WEIGHT = 2.0
    node.LOSS.DICE_WEIGHT = 2.0
    # Class cost of the second matching, the one with masks.
    node.LOSS.MASK_MATCH_CLASS_COST = 4.0
    # Focal loss: balance of positives and focusing exponent.
    node.LOSS.FOCAL_ALPHA = 0.25
    node.LOSS.FOCAL_GAMMA = 2.0


def _add_test_keys(node: CN) -> None:
    node.TEST = CN()
    # Which results one forward pass returns.
    node.TEST.PANOPTIC_ON = True
    node.TEST.SEMANTIC_ON = False
    node.TEST.INSTANCE_ON = False
    # Type for autocast at inference: "" for none, "bfloat16" or "float16".
    node.TEST.AUTOCAST = ""
    # Thing candidates: the best (query, class) pairs.
    node.TEST.TOPK = 100
    # Stop after this block of the mask decoders, with its own mask and class; 0: not before the
    # tail. Classes of the location decoder stay the same.
    node.TEST.MASK_LAYERS = 0
    # From masks to segments: "mask_wise" (algorithm 1), "pixel_argmax" (the highest mask) or
    # "maskformer" (the highest product of class probability and mask).
    node.TEST.MERGING = "mask_wise"
    # Segments whose score p^alpha q^beta is lower are dropped (section 3.5); the powers are those
    # of "mask_wise" alone, for the others the score is p.
    node.TEST.SCORE_THRESHOLD = 0.25
    node.TEST.CLASS_POWER = 1.0
    node.TEST.MASK_POWER = 2.0
    # A pixel belongs to a mask when its raw mask value is above this.
    node.TEST.MASK_THRESHOLD = 0.5
    # Drop a segment when more than this share of it is already taken ("maskformer": is lost to
    # others; "pixel_argmax" drops none).
    node.TEST.THING_OVERLAP_THRESHOLD = 0.4
    node.TEST.STUFF_OVERLAP_THRESHOLD = 0.2


def _add_solver_keys(cfg: CN) -> None:
    # [part of a parameter's name, factor on BASE_LR]; the first that fits is used.
    cfg.SOLVER.LR_MULTIPLIERS = [
        ["backbone", 0.1],
        ["sampling_offsets", 0.1],
        ["reference_points", 0.1],
    ]
    # "full_model": clip the norm over all parameters together, to CLIP_GRADIENTS.CLIP_VALUE.
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    # Forward-backward passes per optimizer step; IMS_PER_BATCH images are split over them.
    cfg.SOLVER.ACCUMULATION_STEPS = 1
    # Autocast type when SOLVER.AMP.ENABLED: "float16" (with a gradient scaler) or "bfloat16".
    cfg.SOLVER.AMP.DTYPE = "float16"
    # "ADAMW" or "SGD" (the latter with SOLVER.MOMENTUM and SOLVER.NESTEROV).
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Let MODEL.WEIGHTS be of another class count: layers whose shape differs start afresh.
    cfg.SOLVER.FINETUNE = False

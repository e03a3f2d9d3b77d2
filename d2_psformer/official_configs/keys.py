"""Keys of the official MaskFormer and Mask2Former, and what they are called here."""

OLD, HEAD, SWIN = "MODEL.MASK_FORMER.", "MODEL.SEM_SEG_HEAD.", "MODEL.SWIN."
PIXEL, QUERY = "MODEL.PIXEL_DECODER.", "MODEL.TRANSFORMER_DECODER."
LOSS, POST = "MODEL.LOSS.", "MODEL.POSTPROCESSING."
OURS = (PIXEL, QUERY, LOSS, POST)
# Keys that the official projects add outside of their nodes, and that have another form here.
OWN = (
    "INPUT.DATASET_MAPPER_NAME",
    "SOLVER.BACKBONE_MULTIPLIER",
    "INPUT.IMAGE_SIZE",
    "INPUT.MIN_SCALE",
    "INPUT.MAX_SCALE",
)
MAPPERS = ("mask_former_semantic", "mask_former_panoptic", "mask_former_instance")
PER_PIXEL_HEADS = {
    "PerPixelBaselineHead": "PerPixelBaseline",
    "PerPixelBaselinePlusHead": "PerPixelBaselinePlus",
}

# Architectures of this project that have another name in the official files.
OUR_NAMES = {"Mask2Former": "MaskFormer"} | dict.fromkeys(
    PER_PIXEL_HEADS.values(), "SemanticSegmentor"
)

# Keys of both projects: their default, and our keys of the same meaning.
SAME_MEANING = {
    f"{HEAD}IN_FEATURES": (["res2", "res3", "res4", "res5"], [f"{PIXEL}IN_FEATURES"]),
    f"{HEAD}CONVS_DIM": (256, [f"{PIXEL}DIM"]),
    f"{HEAD}MASK_DIM": (256, [f"{PIXEL}MASK_DIM"]),
    f"{OLD}NUM_OBJECT_QUERIES": (100, [f"{QUERY}NUM_QUERIES"]),
    f"{OLD}NHEADS": (8, [f"{PIXEL}HEADS", f"{QUERY}HEADS"]),
    f"{OLD}DEEP_SUPERVISION": (True, [f"{LOSS}DEEP_SUPERVISION"]),
    f"{OLD}NO_OBJECT_WEIGHT": (0.1, [f"{LOSS}NO_OBJECT_WEIGHT"]),
    f"{OLD}MASK_WEIGHT": (20.0, [f"{LOSS}MASK_WEIGHT"]),
    f"{OLD}DICE_WEIGHT": (1.0, [f"{LOSS}DICE_WEIGHT"]),
    "SOLVER.WEIGHT_DECAY_NORM": (0.0, ["SOLVER.WEIGHT_DECAY_NORM"]),
    "SOLVER.WEIGHT_DECAY_EMBED": (0.0, ["SOLVER.WEIGHT_DECAY_EMBED"]),
}
# The same of Mask2Former alone.
MASK2FORMER = {
    f"{OLD}CLASS_WEIGHT": (1.0, [f"{LOSS}CLASS_WEIGHT"]),
    f"{OLD}TRAIN_NUM_POINTS": (12544, [f"{LOSS}NUM_POINTS"]),
    f"{OLD}OVERSAMPLE_RATIO": (3.0, [f"{LOSS}OVERSAMPLE_RATIO"]),
    f"{OLD}IMPORTANCE_SAMPLE_RATIO": (0.75, [f"{LOSS}IMPORTANCE_SAMPLE_RATIO"]),
    f"{OLD}TEST.SEMANTIC_ON": (True, [f"{POST}SEMANTIC_ON"]),
    f"{OLD}TEST.INSTANCE_ON": (False, [f"{POST}INSTANCE_ON"]),
}
# Keys that tell the projects apart.
ONLY_MASK2FORMER = (
    *MASK2FORMER,
    f"{OLD}TRANSFORMER_DECODER_NAME",
    f"{HEAD}DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES",
    "INPUT.IMAGE_SIZE",
    "INPUT.MIN_SCALE",
    "INPUT.MAX_SCALE",
)
# Pixel decoder: the project, and what the queries read with it (TRANSFORMER_IN_FEATURE).
PIXEL_DECODERS = {
    "BasePixelDecoder": ("MaskFormer", "res5"),
    "TransformerEncoderPixelDecoder": ("MaskFormer", "transformer_encoder"),
    "MSDeformAttnPixelDecoder": ("Mask2Former", "multi_scale_pixel_decoder"),
}
# Values that the networks here stand for; any other has no counterpart.
FIXED = {
    f"{HEAD}NORM": ("GN",),
    f"{HEAD}LOSS_WEIGHT": (1.0,),
    f"{HEAD}IGNORE_VALUE": (255,),
    f"{OLD}PRE_NORM": (False,),
    f"{OLD}ENC_LAYERS": (0,),
    f"{OLD}TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE": (False,),
    f"{OLD}TRANSFORMER_DECODER_NAME": ("MultiScaleMaskedTransformerDecoder",),
    "TEST.AUG.ENABLED": (False,),
    "MODEL.RESNETS.STRIDE_IN_1X1": (False,),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": (64,),
    f"{SWIN}PATCH_SIZE": (4,),
    f"{SWIN}MLP_RATIO": (4.0,),
    f"{SWIN}QKV_BIAS": (True,),
    f"{SWIN}QK_SCALE": (None,),
    f"{SWIN}DROP_RATE": (0.0,),
    f"{SWIN}ATTN_DROP_RATE": (0.0,),
    f"{SWIN}APE": (False,),
    f"{SWIN}PATCH_NORM": (True,),
}
# Keys without a meaning: the official code does not read them, or others say the same here.
UNUSED = (
    f"{HEAD}NAME",
    f"{HEAD}COMMON_STRIDE",
    f"{HEAD}NUM_CLASSES",  # that of DATASETS.TRAIN
    f"{OLD}HIDDEN_DIM",  # works with the value of CONVS_DIM alone
    f"{OLD}ENFORCE_INPUT_PROJ",
    "MODEL.RESNETS.STEM_TYPE",
    "MODEL.RESNETS.RES5_MULTI_GRID",
    "MODEL.RESNETS.OUT_FEATURES",
    f"{SWIN}PRETRAIN_IMG_SIZE",
    f"{SWIN}OUT_FEATURES",
)

# Swin's (EMBED_DIM, DEPTHS, NUM_HEADS, WINDOW_SIZE) -> timm's name.
SWINS = {
    (96, (2, 2, 6, 2), (3, 6, 12, 24), 7): "swin_tiny_patch4_window7_224",
    (96, (2, 2, 18, 2), (3, 6, 12, 24), 7): "swin_small_patch4_window7_224",
    (128, (2, 2, 18, 2), (4, 8, 16, 32), 7): "swin_base_patch4_window7_224",
    (128, (2, 2, 18, 2), (4, 8, 16, 32), 12): "swin_base_patch4_window12_384",
    (192, (2, 2, 18, 2), (6, 12, 24, 48), 7): "swin_large_patch4_window7_224",
    (192, (2, 2, 18, 2), (6, 12, 24, 48), 12): "swin_large_patch4_window12_384",
}
# Files of pretrained backbones that the official configs name -> timm's tag of the same weights.
PRETRAINED = (
    (r"(.*torchvision/)?R-(50|101)\.pkl", "tv_in1k"),
    (r"swin_\w+_22k\.pkl", "ms_in22k"),
    (r"swin_\w+\.pkl", "ms_in1k"),
)

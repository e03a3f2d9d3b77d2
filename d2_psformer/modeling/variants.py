"""The switches that choose between the paper's variants, checked before anything is built."""

from ..classes import Classes

# keys of MODEL.PSFORMER -> values
CHOICES = {
    "LOCATION_SUPERVISION": ("box", "centre", "none"),
    "CLASSIFY": ("location", "mask"),
    "MASK_SUPERVISION": ("all", "last"),
    "ENCODER": ("deformable", "single_scale", "attention", "none"),
    "TEST.AUTOCAST": ("", "bfloat16", "float16"),
    "TEST.MERGING": ("mask_wise", "pixel_argmax", "maskformer"),
}
CHECKPOINTING = ("backbone", "encoder", "mask_decoder")
# keys that must be at least 1; what only some variants need is in _check_numbers
COUNTS = ("HIDDEN_DIM", "NUM_HEADS", "NUM_POINTS", "DIM_FEEDFORWARD", "NUM_QUERIES", "TEST.TOPK")
# keys that must be at least 0; every pixel would be above a lower MASK_THRESHOLD
NOT_NEGATIVE = ("THING_MASK_LAYERS", "STUFF_MASK_LAYERS", "TEST.MASK_THRESHOLD")
# keys that must lie between 0 and 1
PRIORS = ("CLASS_PRIOR", "BOX_SIZE_PRIOR")


# keys of MODEL.BACKBONE that TimmBackbone alone reads, by what they are where nothing is asked for
_OF_TIMM = {"PRETRAINED": "", "WEIGHTS": "", "DROP_PATH": 0.0}


def check_backbone(model_node) -> None:
    """Refuse keys of the config node MODEL that a backbone of another kind would not read.

    Raises:
        ValueError: in one sentence, naming the keys.
    """
    node = model_node.BACKBONE
    if node.NAME == "TimmBackbone":
        return
    ignored = [f"MODEL.BACKBONE.{key}" for key, unset in _OF_TIMM.items() if node[key] != unset]
    if "backbone" in model_node.PSFORMER.CHECKPOINTING:
        ignored.append("'backbone' in MODEL.PSFORMER.CHECKPOINTING")
    if ignored:
        raise ValueError(
            f"MODEL.BACKBONE.NAME is '{node.NAME}', but TimmBackbone alone knows "
            f"{', '.join(ignored)}: take that out (MODEL.WEIGHTS names weights for the others)."
        )


def check_variant(node, layout: Classes) -> None:
    """Refuse switches of the config node MODEL.PSFORMER that are unknown or contradict each other.

    Raises:
        ValueError: in one sentence, naming the keys.
    """
    for key, choices in CHOICES.items():
        if _read(node, key) not in choices:
            allowed = ", ".join(f"'{choice}'" for choice in choices)
            _refuse(f"{key} is '{_read(node, key)}': use one of {allowed}.")
    if unknown := set(node.CHECKPOINTING) - set(CHECKPOINTING):
        parts = ", ".join(CHECKPOINTING)
        _refuse(f"CHECKPOINTING names {', '.join(sorted(unknown))}: use any of {parts}.")
    _check_numbers(node, layout)
    _check_classes(node)
    _check_early_exit(node, layout)
    _check_levels(node)


def _check_numbers(node, layout: Classes) -> None:
    losses = [f"LOSS.{key}" for key in node.LOSS]
    least = dict.fromkeys(COUNTS, (1, "")) | dict.fromkeys([*NOT_NEGATIVE, *losses], (0, ""))
    if node.ENCODER != "none":
        least["ENCODER_LAYERS"] = 1, " (ENCODER 'none' has no layers)"
    if node.LOCATION_SUPERVISION != "none":
        least["LOCATION_LAYERS"] = 1, " (LOCATION_SUPERVISION 'none' has no layers)"
    if node.QUERY_DECOUPLING and layout.num_stuff:
        least["STUFF_MASK_LAYERS"] = 1, ", because blocks classify stuff"
    for key, (number, remark) in least.items():
        if _read(node, key) < number:
            _refuse(f"{key} is {_read(node, key)}: it must be at least {number}{remark}.")
    if not 0 <= node.DROPOUT < 1:
        _refuse(f"DROPOUT is {node.DROPOUT}: it must be at least 0 and below 1.")
    for key in PRIORS:
        if not 0 < node[key] < 1:
            _refuse(f"{key} is {node[key]}: it must lie between 0 and 1.")
    if node.HIDDEN_DIM % 8 or node.HIDDEN_DIM % node.NUM_HEADS:
        _refuse(
            f"HIDDEN_DIM is {node.HIDDEN_DIM}: it must be a multiple of 8 and of NUM_HEADS, which "
            f"is {node.NUM_HEADS}."
        )


def _check_classes(node) -> None:
    if node.LOCATION_SUPERVISION == "none" and node.CLASSIFY == "location":
        _refuse(
            "CLASSIFY is 'location', but LOCATION_SUPERVISION 'none' has no location decoder: "
            "set CLASSIFY to 'mask'."
        )
    if node.CLASSIFY == "mask" and node.THING_MASK_LAYERS < 1:
        _refuse(
            f"THING_MASK_LAYERS is {node.THING_MASK_LAYERS}: CLASSIFY 'mask' needs at least 1 "
            "block, whose queries are classified."
        )


def _check_early_exit(node, layout: Classes) -> None:
    stop = node.TEST.MASK_LAYERS
    if not stop:
        return
    if node.MASK_SUPERVISION == "last":
        _refuse(
            f"TEST.MASK_LAYERS is {stop}, but with MASK_SUPERVISION 'last' no block has a mask of "
            "its own: set TEST.MASK_LAYERS to 0."
        )
    decoders = {
        "THING_MASK_LAYERS": layout.num_things or not node.QUERY_DECOUPLING,
        "STUFF_MASK_LAYERS": layout.num_stuff and node.QUERY_DECOUPLING,
    }
    for key, used in decoders.items():
        if used and not 1 <= stop <= node[key]:
            blocks = f"1 to {node[key]}, or " if node[key] else ""
            _refuse(
                f"TEST.MASK_LAYERS is {stop}, but {key} is {node[key]}: "
                f"give {blocks}0 for the tail."
            )


def _check_levels(node) -> None:
    read = len(node.IN_FEATURES)
    if not read or read > len(set(node.IN_FEATURES)):
        _refuse(f"IN_FEATURES is {list(node.IN_FEATURES)}: name at least one feature, each once.")
    if read > node.NUM_FEATURE_LEVELS:
        _refuse(
            f"NUM_FEATURE_LEVELS is {node.NUM_FEATURE_LEVELS}, fewer than the {read} levels of "
            f"IN_FEATURES: set it to {read} or more."
        )
    mixes = node.ENCODER in ("deformable", "attention")
    if read < node.NUM_FEATURE_LEVELS and node.LOCATION_SUPERVISION == "none" and not mixes:
        _refuse(
            f"NUM_FEATURE_LEVELS is {node.NUM_FEATURE_LEVELS}, but with LOCATION_SUPERVISION "
            f"'none' and ENCODER '{node.ENCODER}' only the {read} levels of IN_FEATURES are read: "
            f"set it to {read}."
        )


def _read(node, key: str):
    for part in key.split("."):
        node = node[part]
    return node


def _refuse(problem: str) -> None:
    raise ValueError(f"MODEL.PSFORMER.{problem}")

"""The switches that choose between the paper's variants, checked before anything is built."""

from ..class_layout import ClassLayout

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
# keys that must be at least 1
COUNTS = ("HIDDEN_DIM", "NUM_HEADS", "NUM_POINTS", "NUM_QUERIES", "TEST.TOPK")


def check_variant(node, layout: ClassLayout) -> None:
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
    _check_counts(node)
    _check_classes(node)
    _check_early_exit(node, layout)
    _check_levels(node)


def _check_counts(node) -> None:
    counts = dict.fromkeys(COUNTS, "")
    if node.ENCODER != "none":
        counts["ENCODER_LAYERS"] = " (ENCODER 'none' has no layers)"
    if node.LOCATION_SUPERVISION != "none":
        counts["LOCATION_LAYERS"] = " (LOCATION_SUPERVISION 'none' has no layers)"
    if node.QUERY_DECOUPLING:
        counts["STUFF_MASK_LAYERS"] = ", because blocks classify stuff"
    for key, remark in counts.items():
        if _read(node, key) < 1:
            _refuse(f"{key} is {_read(node, key)}: it must be at least 1{remark}.")


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


def _check_early_exit(node, layout: ClassLayout) -> None:
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
            _refuse(
                f"TEST.MASK_LAYERS is {stop}, but a mask decoder has {node[key]} blocks ({key}): "
                "0 goes on to the tail."
            )


def _check_levels(node) -> None:
    read = len(node.IN_FEATURES)
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

"""The data sets of a config, numbered as the model numbers its classes."""

from collections.abc import Iterable

from ..d2.config import CfgNode
from ..data.class_metadata import align_data_set, class_metadata, has_classes


def align_data_sets(cfg: CfgNode, names: Iterable[str] | None = None) -> dict:
    """Number the classes of data sets as DATASETS.TRAIN[0] does, whose classes are the model's.

    Data sets without panoptic metadata (images alone, say) are left to the evaluator.

    Args:
        names: default those of DATASETS.TRAIN and DATASETS.TEST.

    Returns:
        :func:`class_metadata` of the first of DATASETS.TRAIN.

    Raises:
        ValueError: DATASETS.TRAIN is empty, its first has no panoptic metadata, or classes differ.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: it says which classes the model knows.")
    first = cfg.DATASETS.TRAIN[0]
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST) if names is None else names:
        if name in cfg.DATASETS.TRAIN or has_classes(name):
            whose = "its registration" if name == first else f"data set '{first}'"
            align_data_set(name, class_metadata(first), whose)
    return class_metadata(first)

"""The data sets of a config, numbered as the model numbers its classes."""

from collections.abc import Iterable

from ..classes import Classes
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..data.class_metadata import align_data_set, class_metadata, has_classes
from ..data.reading import IGNORED
from ..utils.errors import UserError, check_known


def align_data_sets(cfg: CfgNode, names: Iterable[str] | None = None) -> dict:
    """Number the classes of data sets as DATASETS.TRAIN[0] does, whose classes are the model's.

    Data sets without metadata of classes (images alone, for example) are left to the evaluator.

    Args:
        names: default those of DATASETS.TRAIN and DATASETS.TEST.

    Returns:
        :func:`class_metadata` of the first of DATASETS.TRAIN.

    Raises:
        UserError: DATASETS.TRAIN is empty, a data set is not registered or has label PNGs with
            another number than 255 for no class, the first of DATASETS.TRAIN has no metadata of
            classes, or classes differ.
    """
    first = model_data_set(cfg)
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST) if names is None else names:
        check_registered(name)
        _check_ignored(name)
        if name in cfg.DATASETS.TRAIN or has_classes(name):
            if name not in cfg.DATASETS.TRAIN:
                _name_things(name, class_metadata(first))
            whose = "its registration" if name == first else f"data set '{first}'"
            align_data_set(name, class_metadata(first), whose)
    return class_metadata(first)


def _name_things(name: str, reference: dict) -> None:
    """Label PNGs do not say which classes are things: in evaluation they are the model's things."""
    metadata = MetadataCatalog.get(name)
    is_semantic = metadata.get("evaluator_type", None) in ("sem_seg", "cityscapes_sem_seg")
    if is_semantic and not metadata.get("thing_classes", None):
        model = Classes.from_metadata(reference)
        things = {model.names[i] for i in model.thing_ids}
        metadata.set(thing_classes=[c for c in metadata.stuff_classes if c in things])


def _check_ignored(name: str) -> None:
    metadata = MetadataCatalog.get(name)
    ignored = metadata.get("ignore_label", IGNORED)
    if ignored != IGNORED and not metadata.get("panoptic_json", None):
        raise UserError(
            f"Data set '{name}' has the ignore_label {ignored}: write {IGNORED} into its label "
            "PNGs where a pixel has no class, and register it with that."
        )


def model_data_set(cfg: CfgNode) -> str:
    """DATASETS.TRAIN[0], the data set whose classes the model has.

    Raises:
        UserError: DATASETS.TRAIN is empty.
    """
    if not cfg.DATASETS.TRAIN:
        raise UserError("DATASETS.TRAIN is empty: its first entry names the model's classes.")
    return cfg.DATASETS.TRAIN[0]


def check_registered(name: str) -> None:
    """
    Raises:
        UserError: no data set has this name.
    """
    check_known("Data set", name, DatasetCatalog.list())

"""Class names and ids: kept in checkpoints, and compared before anything is trained."""

from ..class_layout import ClassLayout
from ..d2.config import CfgNode
from ..d2.data import MetadataCatalog

_KEYS = (
    "thing_classes",
    "stuff_classes",
    "thing_colors",
    "stuff_colors",
    "thing_dataset_id_to_contiguous_id",
    "stuff_dataset_id_to_contiguous_id",
)


def class_metadata(dataset_name: str) -> dict:
    """``{"name": dataset_name}`` and what the catalog knows of its classes, as plain Python."""
    known = MetadataCatalog.get(dataset_name).as_dict()
    return {"name": dataset_name, **{key: known[key] for key in _KEYS if key in known}}


def restore_class_metadata(metadata: dict) -> None:
    """Put the classes of a checkpoint's entry "metadata" into the catalog.

    After this a model can be built, and its results shown, without the data set. What the catalog
    knows already is left alone.
    """
    catalog = MetadataCatalog.get(metadata["name"])
    known = catalog.as_dict()
    catalog.set(**{key: metadata[key] for key in _KEYS if key in metadata and key not in known})


def check_same_classes(ours: dict, theirs: dict, whose: str) -> None:
    """Compare two results of :func:`class_metadata`.

    Args:
        whose: who has the second one, e.g. "data set 'b'", for the message.

    Raises:
        ValueError: they differ in their thing or stuff classes.
    """
    our_layout, their_layout = (ClassLayout.from_metadata(x) for x in (ours, theirs))
    if our_layout == their_layout:
        return
    same_counts = _count(our_layout) == _count(their_layout)
    raise ValueError(
        f"Data set '{ours['name']}' has {_count(our_layout)}, but {whose} has "
        f"{'them in another order' if same_counts else _count(their_layout)}: "
        "use data, config and weights of the same classes."
    )


def check_data_sets(cfg: CfgNode) -> dict:
    """Compare the data sets of DATASETS.TRAIN and DATASETS.TEST with the first of TRAIN.

    Those of TEST without panoptic metadata (images alone, say) are left to the evaluator.

    Returns:
        that one's :func:`class_metadata`.

    Raises:
        ValueError: none is named, one has no panoptic metadata, or the classes differ.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: it says which classes the model knows.")
    ours = class_metadata(cfg.DATASETS.TRAIN[0])
    tested = [
        x for x in cfg.DATASETS.TEST if "stuff_dataset_id_to_contiguous_id" in class_metadata(x)
    ]
    for name in (*cfg.DATASETS.TRAIN, *tested):
        check_same_classes(ours, class_metadata(name), f"data set '{name}'")
    return ours


def _count(layout: ClassLayout) -> str:
    return f"{layout.num_things} thing and {layout.num_stuff} stuff classes"

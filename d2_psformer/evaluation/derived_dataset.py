"""Data sets derived from a panoptic one, registered so that other evaluators can read them."""

from typing import Any

from ..class_layout import ClassLayout
from ..d2.data import DatasetCatalog, MetadataCatalog


def register_derived(name: str, records: list[dict], **metadata: Any) -> str:
    """Register ``records``, replacing what an earlier evaluation left under ``name``; return it."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**metadata)
    return name


def class_names(metadata, layout: ClassLayout) -> list[str]:
    """Names by contiguous id.

    ``stuff_classes`` or ``thing_classes`` holds them all, in Detectron2's data sets and in ours;
    where each holds its own kind only, things come first.
    """
    things, stuff = metadata.get("thing_classes", []), metadata.get("stuff_classes", [])
    for names in (stuff, things, [*things, *stuff]):
        if len(names) == layout.num_classes:
            return list(names)
    raise ValueError(
        f"Data set '{metadata.get('name', '?')}' has {layout.num_classes} class ids, but "
        f"{len(things)} names in thing_classes and {len(stuff)} in stuff_classes: name every class."
    )

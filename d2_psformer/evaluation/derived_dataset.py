"""Data sets derived from a panoptic one, registered so that other evaluators can read them."""

from typing import Any

from ..d2.data import DatasetCatalog, MetadataCatalog


def register_derived(name: str, records: list[dict], **metadata: Any) -> str:
    """Register ``records``, replacing what an earlier evaluation left under ``name``; return it."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, lambda: records)
    MetadataCatalog.get(name).set(**metadata)
    return name

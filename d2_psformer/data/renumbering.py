"""Records whose classes get other contiguous ids."""

from collections.abc import Mapping
from typing import Any


def renumber_records(
    records: list[dict[str, Any]], table: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Copies of records whose segments, annotations and label PNGs have other classes.

    Args:
        table: contiguous id -> the new ``category_id`` and ``isthing``. What a value of a label
            PNG becomes is listed in the record's ``sem_seg_classes``, see :mod:`.semantic`.
    """
    return [_renumbered(record, table) for record in records]


def _renumbered(record: dict[str, Any], table: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    new = {**record}
    if "segments_info" in record:
        new["segments_info"] = [{**s, **table[s["category_id"]]} for s in record["segments_info"]]
    if "annotations" in record:
        new["annotations"] = [
            {**a, "category_id": table[a["category_id"]]["category_id"]}
            for a in record["annotations"]
        ]
    if "sem_seg_file_name" in record:
        before = record.get("sem_seg_classes", sorted(table))
        new["sem_seg_classes"] = [table[i]["category_id"] for i in before]
    return new

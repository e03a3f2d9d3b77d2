"""From the contiguous class ids of a model back to the category ids of a data set."""

from collections.abc import Mapping

from ..data.panoptic_json import is_integer


def with_dataset_ids(segments_info: list[dict], ids: dict[int, int], image_id) -> list[dict]:
    """New ``{id, category_id}`` dicts in the data set's ids; what the model gave stays as it is.

    Raises:
        ValueError: a segment's id is no integer, or the data set does not have its class.
    """
    converted = []
    for segment in segments_info:
        segment_id, contiguous = integer_id(segment, image_id), segment["category_id"]
        category_id = ids.get(contiguous) if is_integer(contiguous) else None
        if category_id is None:
            raise ValueError(
                f"Image {image_id}: predicted segment {segment_id} has class {contiguous!r}, which "
                f"the data set lacks (it has {len(ids)} classes): evaluate on a data set with the "
                "classes that the model was trained for."
            )
        converted.append({"id": segment_id, "category_id": category_id})
    return converted


def integer_id(segment: Mapping, image_id) -> int:
    """The ``id`` of a segment, an integer of Python or NumPy, as int.

    Raises:
        ValueError: it is something else.
    """
    if not is_integer(segment["id"]):
        raise ValueError(
            f"Image {image_id}: segments_info has the segment id {segment['id']!r}: give integers."
        )
    return int(segment["id"])

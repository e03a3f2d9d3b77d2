"""From the contiguous class ids of a model back to the category ids of a data set."""


def dataset_category_ids(metadata) -> dict[int, int]:
    """Contiguous id -> the data set's category id, from metadata with Detectron2's id maps.

    The stuff map may hold every id of the data set; where the maps differ, things win.
    """
    things = metadata.get("thing_dataset_id_to_contiguous_id", None) or {}
    stuff = metadata.get("stuff_dataset_id_to_contiguous_id", None) or {}
    ids = {contiguous: category for category, contiguous in stuff.items() if category not in things}
    ids.update({contiguous: category for category, contiguous in things.items()})
    return ids


def with_dataset_ids(segments_info: list[dict], ids: dict[int, int], image_id) -> list[dict]:
    """New ``{id, category_id}`` dicts in the data set's ids; what the model gave stays as it is.

    Raises:
        ValueError: a predicted class that the data set does not have.
    """
    converted = []
    for segment in segments_info:
        category_id = ids.get(segment["category_id"])
        if category_id is None:
            raise ValueError(
                f"Image {image_id}: predicted segment {segment['id']} has class "
                f"{segment['category_id']}, which the data set lacks (it has {len(ids)} classes): "
                "evaluate on a data set with the classes that the model was trained for."
            )
        converted.append({"id": int(segment["id"]), "category_id": category_id})
    return converted

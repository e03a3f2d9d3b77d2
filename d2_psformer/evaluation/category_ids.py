"""From the contiguous class ids of a model back to the category ids of a data set."""


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

"""The classes of data sets and checkpoints as metadata: compared by name, numbered alike."""

import os
from typing import Any

from ..classes import Classes, metadata_colors
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..utils.errors import UserError
from .class_alignment import align_categories
from .coco_instances import instance_classes, load_instance_records
from .coco_panoptic import read_categories
from .registration import CatalogRecords
from .renumbering import renumber_records

_COLORS = ("thing_colors", "stuff_colors")
_ID_MAPS = ("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id")
_NAMES = ("thing_classes", "stuff_classes")
_KEYS = (*_NAMES, *_COLORS, *_ID_MAPS)


def class_metadata(dataset_name: str) -> dict:
    """``{"name": dataset_name}`` and the catalog's metadata of its classes, as plain Python.

    Raises:
        UserError: a colour is neither [R, G, B] of 0...255 nor "#rrggbb".
    """
    known = _known(dataset_name)
    colors = {key: metadata_colors(known, key) for key in _COLORS if key in known}
    return {"name": dataset_name, **{key: known[key] for key in _KEYS if key in known}, **colors}


def is_class_metadata(value: Any) -> bool:
    """True for a result of :func:`class_metadata` with classes; checkpoints may hold anything."""
    return isinstance(value, dict) and (
        any(isinstance(value.get(key), dict) for key in _ID_MAPS)
        or any(isinstance(value.get(key), list) and value[key] for key in _NAMES)
    )


def has_classes(dataset_name: str) -> bool:
    """True if the catalog has the data set's classes; images alone have none."""
    return is_class_metadata(_known(dataset_name))


def _known(dataset_name: str) -> dict[str, Any]:
    """The catalog's metadata.

    Detectron2's ``register_coco_instances`` gives the classes only when the records are loaded:
    here they are read from the JSON, with the values that it would set.
    """
    metadata = MetadataCatalog.get(dataset_name)
    json_file = metadata.get("json_file", None)
    is_unread = metadata.get("evaluator_type", None) == "coco" and not is_class_metadata(
        metadata.as_dict()
    )
    if is_unread and json_file and os.path.isfile(json_file):
        classes = instance_classes(json_file).to_metadata()
        metadata.set(**{key: classes[key] for key in (_NAMES[0], _ID_MAPS[0])})
    return metadata.as_dict()


def restore_class_metadata(metadata: dict) -> None:
    """Put the classes of a checkpoint's entry "metadata" into the catalog.

    After this a model can be built, and its results shown, without the data set. Keys that the
    catalog already has are left alone.
    """
    catalog = MetadataCatalog.get(metadata["name"])
    known = catalog.as_dict()
    catalog.set(**{key: metadata[key] for key in _KEYS if key in metadata and key not in known})


def align_classes(ours: dict, reference: dict, whose: str) -> dict:
    """Give the classes of ``ours`` the contiguous ids that they have in ``reference``.

    Args:
        ours, reference: results of :func:`class_metadata`, compared by :func:`.align_categories`.
        whose: the owner of the second one, e.g. "data set 'b'", for messages.

    Returns:
        ``ours`` itself if it is numbered like the reference.

    Raises:
        UserError: the classes differ; the first ones that do are named.
    """
    mine = _categories(ours)
    who = f"data set '{ours['name']}'"
    found = align_categories(mine, _categories(reference), who, whose)
    if found == mine:
        return ours
    return {"name": ours["name"], **Classes.from_categories(found).to_metadata()}


def set_classes(dataset_name: str, metadata: dict) -> None:
    """Put a result of :func:`align_classes` into the catalog, and renumber the data set's records.

    Args:
        metadata: the same classes (by id) with other contiguous ids, names or colours.
    """
    known = MetadataCatalog.get(dataset_name).as_dict()
    old, new = {k: v for k, v in known.items() if k in _KEYS}, {**metadata}
    new.pop("name", None)
    if new == old:
        return
    others = {k: v for k, v in known.items() if k not in (*_KEYS, "name")}
    MetadataCatalog.remove(dataset_name)
    MetadataCatalog.get(dataset_name).set(**others, **new)
    # The method ``get`` of this catalog would load the data set.
    load = dict(DatasetCatalog).get(dataset_name)
    if not load or isinstance(load, CatalogRecords):
        return
    DatasetCatalog.remove(dataset_name)
    if others.get("evaluator_type") == "coco":  # Detectron2's loader would set the classes anew
        DatasetCatalog.register(dataset_name, CatalogRecords(dataset_name, load_instance_records))
        return
    numbers = {
        c["id"]: {"category_id": i, "isthing": bool(c["isthing"])}
        for i, c in enumerate(_categories(metadata))
    }
    before = Classes.from_metadata(known).category_ids
    table = {i: numbers[id] for i, id in before.items() if id in numbers}
    DatasetCatalog.register(dataset_name, lambda: renumber_records(load(), table))


def align_data_set(dataset_name: str, reference: dict, whose: str) -> None:
    """Number the classes of a registered data set as ``reference`` does, by their names.

    Its names and ids are those in its JSON where that exists, so that a file whose ids
    differ from those that the data set was registered with is read rightly. (Detectron2's own
    loaders read no ids but those of their registration.)

    Raises:
        UserError: as :func:`align_classes`, or the JSON's categories are unusable.
    """
    known = class_metadata(dataset_name)
    classes = _classes_in_file(MetadataCatalog.get(dataset_name))
    in_file = classes.to_metadata() if classes else {}
    aligned = align_classes({**known, **in_file}, reference, whose)
    renumbered = _identities(aligned) != _identities(known)
    set_classes(dataset_name, aligned if renumbered else known)


def _classes_in_file(metadata) -> Classes | None:
    """The classes of the JSON of panoptic or of instance data, where it exists and has some."""
    paths = metadata.get("panoptic_json", None), metadata.get("json_file", None)
    panoptic_json, json_file = (path if path and os.path.isfile(path) else None for path in paths)
    if panoptic_json:
        categories = read_categories(panoptic_json)
        return Classes.from_categories(categories, things_first=True) if categories else None
    is_instance_data = metadata.get("evaluator_type", None) == "coco"
    return instance_classes(json_file) if json_file and is_instance_data else None


def _categories(metadata: dict) -> list[dict[str, Any]]:
    """The classes in the order of their contiguous ids, like ``categories`` of COCO's format."""
    classes = Classes.from_metadata(metadata)
    if sorted(classes.category_ids) != list(range(classes.num_classes)):
        raise UserError(f"The contiguous class ids of data set '{metadata['name']}' have gaps.")
    return classes.categories()


def _identities(metadata: dict) -> list[dict[str, Any]]:
    return [{**category, "color": None} for category in _categories(metadata)]

"""Which classes are things, which are stuff, and where a data set keeps them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ClassLayout:
    """The map between a data set's contiguous class ids and the model's thing and stuff indices.

    Thing index ``i`` of the model is the contiguous id ``thing_ids[i]``, stuff index ``j`` is
    ``stuff_ids[j]``; both are ascending. Detectron2's metadata puts all names in
    ``thing_classes``, so the counts come from the id maps, never from the name lists.
    """

    thing_ids: tuple[int, ...]
    stuff_ids: tuple[int, ...]

    def __post_init__(self):
        both = sorted(set(self.thing_ids) & set(self.stuff_ids))
        if both:
            raise ValueError(
                f"Contiguous class ids {both} stand for a thing and for a stuff class: use the "
                "data set's panoptic metadata, not the 'separated' or 'stuffonly' one."
            )
        if not self.thing_ids and not self.stuff_ids:
            raise ValueError("The data set has neither thing nor stuff classes.")

    @classmethod
    def from_metadata(cls, metadata) -> "ClassLayout":
        """Read ``thing_dataset_id_to_contiguous_id`` and ``stuff_dataset_id_to_contiguous_id``.

        Raises:
            ValueError: the metadata has no such maps, or one contiguous id in both kinds.
        """
        things = metadata.get("thing_dataset_id_to_contiguous_id", None)
        stuff = metadata.get("stuff_dataset_id_to_contiguous_id", None)
        if things is None and stuff is None:
            name = metadata.get("name", "?")
            raise ValueError(
                f"Data set '{name}' has no panoptic metadata: register it with register_panoptic, "
                "from a JSON whose categories tell 'isthing', or with register_coco_panoptic."
            )
        things, stuff = things or {}, stuff or {}
        # Detectron2 allows the stuff map to hold every id of the data set: things win.
        return cls(
            thing_ids=tuple(sorted(things.values())),
            stuff_ids=tuple(sorted(v for k, v in stuff.items() if k not in things)),
        )

    @property
    def num_things(self) -> int:
        return len(self.thing_ids)

    @property
    def num_stuff(self) -> int:
        return len(self.stuff_ids)

    @property
    def num_classes(self) -> int:
        """Size of a table indexed by contiguous id."""
        return max(self.thing_ids + self.stuff_ids) + 1

    def thing_index(self) -> Tensor:
        """Long table (num_classes,): contiguous id -> thing index, -1 where it is no thing."""
        return self._table(self.thing_ids)

    def stuff_index(self) -> Tensor:
        """Long table (num_classes,): contiguous id -> stuff index, -1 where it is no stuff."""
        return self._table(self.stuff_ids)

    def _table(self, ids: tuple[int, ...]) -> Tensor:
        table = torch.full((self.num_classes,), -1, dtype=torch.long)
        table[list(ids)] = torch.arange(len(ids))
        return table


def class_names(metadata, layout: ClassLayout) -> list[str]:
    """Names by contiguous id.

    ``stuff_classes`` or ``thing_classes`` holds them all, in Detectron2's data sets and in ours;
    where each holds its own kind only, things come first.

    Raises:
        ValueError: no list of names has one for every id.
    """
    things, stuff = metadata.get("thing_classes", []), metadata.get("stuff_classes", [])
    for names in (stuff, things, [*things, *stuff]):
        if len(names) == layout.num_classes:
            return list(names)
    raise ValueError(
        f"Data set '{metadata.get('name', '?')}' has {layout.num_classes} class ids, but "
        f"{len(things)} names in thing_classes and {len(stuff)} in stuff_classes: name every class."
    )


def dataset_category_ids(metadata) -> dict[int, int]:
    """Contiguous id -> the data set's category id, from metadata with Detectron2's id maps.

    The stuff map may hold every id of the data set; where the maps differ, things win.
    """
    things = metadata.get("thing_dataset_id_to_contiguous_id", None) or {}
    stuff = metadata.get("stuff_dataset_id_to_contiguous_id", None) or {}
    ids = {contiguous: category for category, contiguous in stuff.items() if category not in things}
    ids.update({contiguous: category for category, contiguous in things.items()})
    return ids

"""Fine-tuning on other classes: rows of layers that stand for classes are kept by class name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tabulate import tabulate
from torch import Tensor

from ..classes import NO_OBJECT, Classes, unique_names

# For a model of some classes: beginnings of parameter names, and the contiguous class id of every
# row of these parameters.
RowsOf = Callable[[Classes], Mapping[str, Sequence[int]]]
State = Mapping[str, Tensor]

LOADED, ROWS = "loaded", "loaded by class"
KEPT, NEW = "classes that are kept", "classes that start anew"
RESHAPED, ABSENT = "start anew: of another shape", "start anew: not in the file"
UNUSED = "in the file alone: not used"
# What the table shows of names that are many: parts of the model, and layers.
_SHOWN = {LOADED: lambda name: name.partition(".")[0], ROWS: lambda name: name.rpartition(".")[0]}


@dataclass
class Transfer:
    """The weights that fine-tuning starts with, and where they are from.

    Attributes:
        state: a value for every name of the model.
        names: of parameters or classes, under each of the constants above.
    """

    state: dict[str, Tensor]
    names: dict[str, list[str]] = field(
        default_factory=lambda: {
            what: [] for what in (LOADED, ROWS, KEPT, NEW, RESHAPED, ABSENT, UNUSED)
        }
    )

    def table(self) -> str:
        """Numbers of tensors or classes, and names, for the log."""
        rows = [
            (what, len(names), ", ".join(dict.fromkeys(map(_SHOWN.get(what, str), names))))
            for what, names in self.names.items()
            if names
        ]
        return tabulate(rows, ["", "number", "names"], "github", maxcolwidths=[None, None, 70])


def transfer(
    own: State, saved: State, rows_of: RowsOf, classes: Classes, saved_classes: Classes | None
) -> Transfer:
    """Take over what fits of a checkpoint; rows of classes where the names of classes agree.

    Args:
        own: the state dict of the model.
        saved: that of the checkpoint.
        rows_of: the method ``class_rows`` of the model.
        classes: of the model.
        saved_classes: of the checkpoint; None if unknown, and all rows of classes start anew.
    """
    found = Transfer(dict(own))
    found.names[UNUSED] = [name for name in saved if name not in own]
    rows, saved_rows = rows_of(classes), rows_of(saved_classes) if saved_classes else {}
    kept: set[int] = set()
    for name, value in own.items():
        layer = layer_of(name, rows)
        if name not in saved:
            found.names[ABSENT].append(name)
        elif layer is None and saved[name].shape == value.shape:
            found.state[name] = saved[name]
            found.names[LOADED].append(name)
        elif layer in saved_rows and _same_kind(saved[name], value, len(saved_rows[layer])):
            pairs = _pairs(rows[layer], classes, saved_rows[layer], saved_classes)
            found.state[name] = value.clone()
            found.state[name][[*pairs]] = saved[name][[*pairs.values()]].to(value)
            found.names[ROWS].append(name)
            kept.update(rows[layer][row] for row in pairs)
        else:
            shapes = f"({tuple(saved[name].shape)} there, {tuple(value.shape)} here)"
            found.names[RESHAPED].append(f"{name} {shapes}")
    for number, name in enumerate(classes.names):
        found.names[KEPT if number in kept else NEW].append(name)
    return found


def layer_of(name: str, layers: Iterable[str]) -> str | None:
    """The one of ``layers`` that a parameter belongs to."""
    return next((layer for layer in layers if name.startswith(f"{layer}.")), None)


def fits_classes(saved: State, rows_of: RowsOf, classes: Classes) -> bool:
    """True if the layers for classes have as many rows as in a model of these classes."""
    rows = rows_of(classes)
    found = [(layer, v.shape) for name, v in saved.items() if (layer := layer_of(name, rows))]
    return bool(found) and all(shape[:1] == (len(rows[layer]),) for layer, shape in found)


def _same_kind(saved: Tensor, value: Tensor, count: int) -> bool:
    return saved.shape == (count, *value.shape[1:])


def _pairs(
    mine: Sequence[int], classes: Classes, theirs: Sequence[int], saved_classes: Classes
) -> dict[int, int]:
    """Our rows -> their rows of the classes of the same names."""
    saved_names = _names(saved_classes)
    place = {saved_names[number]: row for row, number in enumerate(theirs)}
    names = (_names(classes)[number] for number in mine)
    return {row: place[name] for row, name in enumerate(names) if name in place}


def _names(classes: Classes) -> dict[int, str]:
    """What identifies a class, by contiguous id: its name in lower case; a name twice by its id."""
    ids = [classes.category_ids.get(number, number) for number in range(len(classes.names))]
    names = unique_names([name.casefold() for name in classes.names], ids)
    return {**dict(enumerate(names)), NO_OBJECT: ""}

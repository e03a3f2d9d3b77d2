"""The checkpointer: atomic writes, and strict checks of the files that are read."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import check_finite, read_checkpoint, source_of
from ..classes import Classes
from ..d2.checkpoint import DetectionCheckpointer
from ..data.class_metadata import align_classes, is_class_metadata
from ..utils.errors import UserError
from ..utils.files import atomic_write


def check_exists(path: str) -> None:
    """
    Raises:
        UserError: the path of a checkpoint is neither "", nor a file, nor an address.
    """
    if path and "://" not in path and not os.path.isfile(path.partition("?")[0]):
        raise UserError(
            f"Checkpoint '{path}' does not exist: check MODEL.WEIGHTS or, when resuming, the name "
            "in the file 'last_checkpoint' of OUTPUT_DIR."
        )


class AtomicCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer and layout, with atomic writes and strict reading.

    A file holds ``{"model", "trainer", "iteration", "metadata"}``: weights, the state of the given
    ``checkpointables``, the iteration just done, and the classes of the training data. It loads
    with ``torch.load(weights_only=True)``. A process killed at any moment leaves the last file and
    ``last_checkpoint`` as they were.

    Args:
        metadata: see :func:`class_metadata`; saved, and compared by names with that of files that
            are read. Where those number the same classes otherwise, it takes over their numbers:
            pass it to :func:`set_classes` after loading.
        finetune: accept weights of other classes; layers that do not fit keep their initial
            weights, with a warning.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        metadata: dict,
        finetune: bool = False,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.metadata = metadata
        self.finetune = finetune
        self.path = ""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` and name it in ``last_checkpoint``.

        Raises:
            UserError: a weight is not finite; the files stay as they were.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), "metadata": self.metadata}
        advice = "lower SOLVER.BASE_LR and resume from the last checkpoint"
        check_finite(data["model"], "the model to be saved", advice)
        data.update((key, obj.state_dict()) for key, obj in self.checkpointables.items())
        data.update(kwargs)
        path = Path(self.save_dir, f"{name}.pth")
        # Processes that were killed while saving have left these behind.
        for stale in path.parent.glob(".*.tmp.pth"):
            stale.unlink(missing_ok=True)
        self.logger.info("Saving checkpoint to %s", path)
        with atomic_write(path) as file:
            torch.save(data, file)
        self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_write(os.path.join(self.save_dir, "last_checkpoint"), "w") as file:
            file.write(last_filename_basename)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and the states that are asked for, from a file.

        Raises:
            UserError: the file is missing, cannot be read or does not fit, or a weight is not
                finite; the message has the file and the key.
        """
        self.path = path
        check_exists(path)
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            return super()._load_file(filename)
        return read_checkpoint(filename)

    def _load_model(self, checkpoint: dict[str, Any]):
        # Backbones of the model zoo are matched by name and are a part of the model only.
        is_partial = checkpoint.get("matching_heuristics", False) or self.finetune
        if not is_partial and is_class_metadata(checkpoint.get("metadata")):
            self.metadata = self._aligned(checkpoint["metadata"])
        shapes = {key: tuple(value.shape) for key, value in checkpoint["model"].items()}
        incompatible = super()._load_model(checkpoint)
        if not is_partial:
            self._refuse(incompatible, shapes)
        whose = f"checkpoint '{self.path}'"
        check_finite(self.model.state_dict(), whose, "use an earlier checkpoint")
        return incompatible

    def _aligned(self, reference: dict) -> dict:
        """Return our classes in the order of the checkpoint's weights."""
        whose = f"checkpoint '{self.path}'"
        aligned = align_classes(self.metadata, reference, whose)
        new, old = Classes.from_metadata(aligned), Classes.from_metadata(self.metadata)
        if (new.thing_ids, new.stuff_ids) != (old.thing_ids, old.stuff_ids):
            raise UserError(
                f"Data set '{self.metadata['name']}' has the classes of {whose}, but things and "
                "stuff are numbered otherwise: register it in the same way as for that training."
            )
        return aligned

    def _refuse(self, incompatible, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise UserError if anything does not fit, naming the first such key."""
        if source := source_of(shapes):
            raise UserError(
                f"Checkpoint '{self.path}' has the names of other code: convert it with "
                f"tools/convert_checkpoint.py --source {source}."
            )
        own = self.model.state_dict()
        misshapen = {key for key, *_ in incompatible.incorrect_shapes}
        # Those of another shape are listed as missing too.
        if missing := [key for key in incompatible.missing_keys if key not in misshapen]:
            key = missing[0]
            what = f"key '{key}' is missing there and {tuple(own[key].shape)} in this model"
        elif incompatible.unexpected_keys:
            key = incompatible.unexpected_keys[0]
            what = f"key '{key}' is {shapes.get(key)} there and missing in this model"
        elif incompatible.incorrect_shapes:
            key, theirs, ours = incompatible.incorrect_shapes[0]
            what = f"key '{key}' is {tuple(theirs)} there and {tuple(ours)} in this model"
            counted = _counted_by(key, own)
            if counted and theirs[counted[3]] != ours[counted[3]]:
                of_what, setting, extra, dim = counted
                raise UserError(
                    f"Checkpoint '{self.path}' is of {theirs[dim] - extra} {of_what}, this model "
                    f"of {ours[dim] - extra} ({what}): {setting} decides that; or set "
                    "SOLVER.FINETUNE True to load what fits."
                )
        else:
            return
        raise UserError(
            f"Checkpoint '{self.path}' is of another architecture or class count ({what}): use "
            "the config it was trained with, or set SOLVER.FINETUNE True to load what fits."
        )


def _counted_by(key: str, names: Iterable[str]) -> tuple[str, str, int, int] | None:
    """What a weight has one row or column for each of, and the setting that decides how many.

    Args:
        names: of all weights of the model.

    Returns:
        With them the number of rows beyond, and the axis: 0 for rows.
    """
    queries = "queries", "MODEL.TRANSFORMER_DECODER.NUM_QUERIES", 0, 0
    classes = "classes", "the data set DATASETS.TRAIN", 0, 0
    if re.match(r"(transformer|location)_decoder\.query_", key):
        # Queries are classes where nothing classifies them (PerPixelBaselinePlus).
        return queries if any("class_embed" in name for name in names) else classes
    if ".mask_heads.class_embed." in key or key.startswith("class_head."):
        return *classes[:2], 1, 0  # "no object"
    if key == "backbone.memory":
        return *queries[:3], 1
    return classes if key.startswith("classifier.") else None

"""The checkpointer: atomic writes, and strict checks of the files that are read."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import check_finite, check_kinds, read_checkpoint, source_of
from ..checkpoint.class_rows import LOADED, ROWS, fits_classes, layer_of, transfer
from ..classes import NO_OBJECT, Classes
from ..d2.checkpoint import DetectionCheckpointer
from ..d2.data import MetadataCatalog
from ..d2.utils import comm
from ..data.class_metadata import align_classes, is_class_metadata
from ..utils.errors import UserError
from ..utils.files import atomic_write
from .checkpoint_files import check_exists, errors_of_the_system, last_checkpoint, load_last


class AtomicCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer and layout, with atomic writes and strict reading.

    A file holds ``{"model", "trainer", "iteration", "metadata", "config"}``: weights, the state of
    the given ``checkpointables``, the iteration just done, the classes of the training data, and
    the config as YAML. It loads with ``torch.load(weights_only=True)``. A process killed at any
    moment leaves the last file and ``last_checkpoint`` as they were.

    Args:
        metadata: see :func:`class_metadata`; saved, and compared by names with that of files that
            are read. Where those number the same classes otherwise, it takes over their numbers:
            pass it to :func:`set_classes` after loading.
        config: ``cfg.dump()`` of the training, to be saved; none by default.
        finetune: accept weights of other classes: rows of classes of the same name are loaded,
            all else that does not fit keeps its initial weights. A table of it is logged.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        metadata: dict,
        config: str = "",
        finetune: bool = False,
        **checkpointables: Any,
    ):
        super().__init__(model, save_dir, **checkpointables)
        self.metadata = metadata
        self.config = config
        self.finetune = finetune
        self.path = ""

    def save(self, name: str, **kwargs: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` and name it in ``last_checkpoint``.

        Raises:
            UserError: a weight is not finite; the files stay as they were.
        """
        states = {key: obj.state_dict() for key, obj in self.checkpointables.items()}
        if self._write(name, {**states, **kwargs}):
            self.tag_last_checkpoint(f"{name}.pth")

    def save_weights(self, name: str, **kwargs: Any) -> None:
        """Write a file without what resuming needs; ``last_checkpoint`` stays as it is."""
        self._write(name, kwargs)

    def _write(self, name: str, entries: dict[str, Any]) -> bool:
        if not self.save_dir or not self.save_to_disk:
            return False
        data = {"model": self.model.state_dict(), "metadata": self.metadata, **entries}
        data.update({"config": self.config} if self.config else {})
        advice = "lower SOLVER.BASE_LR and resume from the last checkpoint"
        check_finite(data["model"], "the model to be saved", advice)
        path = Path(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        with atomic_write(path) as file, errors_of_the_system():
            torch.save(data, file)
        return True

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_write(os.path.join(self.save_dir, "last_checkpoint"), "w") as file:
            file.write(last_filename_basename)

    def has_checkpoint(self) -> bool:
        """True if ``save_dir`` has or names a checkpoint; all processes call it together.

        Raises:
            UserError: machines without a shared disk have different ones.
        """
        last = self.get_checkpoint_file()
        every = comm.all_gather(os.path.basename(last) or "none")
        if len(set(every)) > 1:
            raise UserError(
                f"The processes do not see the same last checkpoint in '{self.save_dir}' "
                f"({', '.join(every)}): copy it and 'last_checkpoint' from the first machine to "
                "the others, or use a disk that they share."
            )
        return bool(last)

    def get_checkpoint_file(self) -> str:
        """See :func:`last_checkpoint`."""
        return last_checkpoint(self.save_dir)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Load the last checkpoint or, where it is lost or damaged, the newest whole one.

        Without ``resume``, or where there is none, load ``path``.

        Raises:
            UserError: as :meth:`load`, of the last one if none is whole.
        """
        if not (resume and self.has_checkpoint()):
            return self.load(path, checkpointables=[])
        return load_last(self.load, self.save_dir)

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load weights, and the states that are asked for, from a file.

        Raises:
            UserError: the file is missing, cannot be read or does not fit, or a weight is not
                finite; the message has the file and the key.
        """
        self.path = path
        check_exists(path)
        self._fetch(path)
        try:
            return super().load(path, *args, **kwargs)
        finally:
            self._parsed_url_during_load = None  # an error leaves it in Detectron2's

    def _fetch(self, path: str) -> None:
        """Download a checkpoint to the cache from which :meth:`load` reads it."""
        if "://" not in path:
            return
        reason = "there is no such file"
        try:
            file = self.path_manager.get_local_path(path.partition("?")[0])
            if os.path.isfile(file):
                return
        except Exception as error:  # of the network, or of whoever reads such addresses
            reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"Checkpoint '{path}' cannot be downloaded ({' '.join(reason.split())}): check the "
            "address and the network, or give a file."
        )

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            return super()._load_file(filename)
        return read_checkpoint(filename)

    def _load_model(self, checkpoint: dict[str, Any]):
        # Backbones of the model zoo are matched by name and are a part of the model only.
        is_partial = checkpoint.get("matching_heuristics", False)
        if self.finetune and not is_partial:
            checkpoint["model"] = self._transferred(checkpoint)
        elif not is_partial and is_class_metadata(checkpoint.get("metadata")):
            self.metadata = self._aligned(checkpoint["metadata"])
        elif not is_partial:
            self.logger.warning(
                "'%s' has no names of classes: its classes are taken for those of data set '%s', "
                "in that order.", self.path, self.metadata["name"],
            )  # fmt: skip
        whose = f"checkpoint '{self.path}'"
        check_kinds(self.model.state_dict(), checkpoint["model"], whose)
        shapes = {key: tuple(value.shape) for key, value in checkpoint["model"].items()}
        incompatible = super()._load_model(checkpoint)
        if not is_partial:
            self._refuse(incompatible, shapes)
        check_finite(self.model.state_dict(), whose, "use an earlier checkpoint")
        return incompatible

    def _transferred(self, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
        """Return the state to fine-tune from, and log where each part of it is from."""
        self._refuse_other_code(checkpoint["model"])
        theirs = self._classes_of(checkpoint)
        ours = Classes.from_metadata(self.metadata)
        own = self.model.state_dict()
        found = transfer(own, checkpoint["model"], self._class_rows, ours, theirs)
        if not found.names[LOADED] and not found.names[ROWS]:
            raise UserError(
                f"Nothing of checkpoint '{self.path}' fits this model: use the config of the "
                "architecture that it is of."
            )
        self.logger.info("Fine-tuning from '%s':\n%s", self.path, found.table())
        return found.state

    def _classes_of(self, checkpoint: dict[str, Any]) -> Classes | None:
        """The classes of a checkpoint; COCO's where it lists none but has as many, else None."""
        if is_class_metadata(checkpoint.get("metadata")):
            return Classes.from_metadata(checkpoint["metadata"])
        coco = Classes.from_metadata(MetadataCatalog.get("coco_2017_val_panoptic"))
        is_coco = fits_classes(checkpoint["model"], self._class_rows, coco)
        consequence = "as many as COCO has: they are taken for these" if is_coco else "start anew"
        self.logger.warning(
            "'%s' has no names of classes; its rows of classes %s. 'psformer convert-weights "
            "--source ours --config CONFIG' stores the names of the config's data set.",
            self.path,
            consequence,
        )
        return coco if is_coco else None

    def _class_rows(self, classes: Classes) -> Mapping[str, Sequence[int]]:
        """See :meth:`Segmenter.class_rows`; nothing is known of other models."""
        rows_of = getattr(self.model, "class_rows", None)
        return rows_of(classes) if rows_of else {}

    def _aligned(self, reference: dict) -> dict:
        """Return our classes in the order of the checkpoint's weights."""
        whose = f"checkpoint '{self.path}'"
        try:
            aligned = align_classes(self.metadata, reference, whose)
        except UserError as error:
            raise UserError(
                f"{error} To train your classes from these weights, set SOLVER.FINETUNE True."
            ) from error
        new, old = Classes.from_metadata(aligned), Classes.from_metadata(self.metadata)
        if (new.thing_ids, new.stuff_ids) != (old.thing_ids, old.stuff_ids):
            raise UserError(
                f"Data set '{self.metadata['name']}' has the classes of {whose}, but things and "
                "stuff are numbered otherwise: register it in the same way as for that training."
            )
        return aligned

    def _refuse(self, incompatible, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise UserError if anything does not fit, naming the first such key."""
        self._refuse_other_code(shapes)
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
            counted = self._counted_by(key)
            if counted and len(theirs) == len(ours) and theirs[counted[3]] != ours[counted[3]]:
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

    def _refuse_other_code(self, names: Mapping[str, Any]) -> None:
        if source := source_of(names):
            raise UserError(
                f"Checkpoint '{self.path}' has the names of other code: convert it with "
                f"psformer convert-weights --source {source}."
            )

    def _counted_by(self, key: str) -> tuple[str, str, int, int] | None:
        """What a weight has one row or column for each of, and the setting that decides how many.

        Returns:
            With them the number of rows beyond, and the axis: 0 for rows.
        """
        rows = self._class_rows(Classes.from_metadata(self.metadata))
        if layer := layer_of(key, rows):
            return "classes", "the data set DATASETS.TRAIN", list(rows[layer]).count(NO_OBJECT), 0
        if ".query_" in key or key == "backbone.memory":
            axis = int(key == "backbone.memory")
            return "queries", "MODEL.TRANSFORMER_DECODER.NUM_QUERIES", 0, axis
        return None

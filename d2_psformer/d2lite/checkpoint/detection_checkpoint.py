"""Loading of ``.pth`` checkpoints and of Detectron2's model-zoo pickles."""

import logging
from typing import Any

import torch
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from ..utils import comm
from ..utils.file_io import PathManager
from .zoo_pickles import read_zoo_pickle

logger = logging.getLogger(__name__)

_HEURISTICS_QUERY = "?matching_heuristics=True"


class DetectionCheckpointer(Checkpointer):
    """fvcore's ``Checkpointer`` that writes on the main process alone and reads more formats.

    No file can run code: ``.pth`` files are read as weights only, ``.pkl`` files of Detectron2's
    model zoo as arrays only. A path that ends in ``?matching_heuristics=True`` matches weights by
    the end of their names.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool | None = None, **others
    ):
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **others)
        self.path_manager = PathManager
        self._match_by_suffix = False

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._match_by_suffix = bool(path) and path.endswith(_HEURISTICS_QUERY)
        if self._match_by_suffix:
            path = path.removesuffix(_HEURISTICS_QUERY)
        if path:
            path = self.path_manager.get_local_path(path)
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            return self._load_pickle(filename)
        loaded = torch.load(filename, map_location="cpu", weights_only=True)
        if "model" not in loaded:
            loaded = {"model": loaded}
        if self._match_by_suffix:
            loaded["matching_heuristics"] = True
        return loaded

    def _load_pickle(self, filename: str) -> dict[str, Any]:
        loaded = read_zoo_pickle(filename)
        if loaded["__author__"] == "Caffe2":
            raise ValueError(
                f"'{filename}' has the layer names of Caffe2 (it lacks 'model' and '__author__'), "
                "which only Detectron2 converts: install it, or convert the file to a .pth file."
            )
        logger.info("Reading a file from '%s'", loaded["__author__"])
        return loaded

    def _load_model(self, checkpoint: dict[str, Any]):
        if checkpoint.get("matching_heuristics", False):
            self._convert_ndarray_to_tensor(checkpoint["model"])
            checkpoint["model"] = match_by_suffix(self.model.state_dict(), checkpoint["model"])
        incompatible = super()._load_model(checkpoint)
        # The pixel statistics come from the config, old files lack them.
        own_buffers = dict(self.model.named_buffers(recurse=False))
        for name in ("pixel_mean", "pixel_std"):
            if name in own_buffers and name in incompatible.missing_keys:
                incompatible.missing_keys.remove(name)
        return incompatible


def match_by_suffix(wanted: dict[str, Tensor], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the ``given`` weights to the names in ``wanted`` that end in theirs.

    ``res2.conv1.weight`` fits ``backbone.res2.conv1.weight``; the longest fitting name wins and
    has to be of the same shape. Weights that fit nowhere keep their names.

    Raises:
        ValueError: one given weight fits several wanted ones.
    """
    source_of: dict[str, str] = {}
    for name, value in wanted.items():
        fitting = [key for key in given if name == key or name.endswith("." + key)]
        best = max(fitting, key=len, default=None)
        if best is None:
            continue
        if given[best].shape != value.shape:
            logger.warning(
                "'%s' is %s in the checkpoint, but '%s' is %s in the model: it is not loaded.",
                best, tuple(given[best].shape), name, tuple(value.shape),
            )  # fmt: skip
            continue
        if best in source_of.values():
            raise ValueError(f"Weight '{best}' of the checkpoint fits several layers of the model.")
        source_of[name] = best
    matched = {name: given[key] for name, key in source_of.items()}
    rest = {key: value for key, value in given.items() if key not in set(source_of.values())}
    return {**rest, **matched}

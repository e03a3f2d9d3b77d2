"""Loading of ``.pth`` checkpoints and of Detectron2's model-zoo pickles."""

from typing import Any

import torch
from fvcore.common.checkpoint import Checkpointer
from torch import nn

from ...utils.zoo_pickles import read_zoo_pickle
from ..errors import UserError
from ..utils import comm
from ..utils.file_io import PathManager


class DetectionCheckpointer(Checkpointer):
    """fvcore's ``Checkpointer`` that writes on the main process alone and reads more formats.

    No file can run code: ``.pth`` files are read as weights only, ``.pkl`` files of Detectron2's
    model zoo as arrays only.
    """

    def __init__(
        self, model: nn.Module, save_dir: str = "", *, save_to_disk: bool | None = None, **others
    ):
        if save_to_disk is None:
            save_to_disk = comm.is_main_process()
        super().__init__(model, save_dir, save_to_disk=save_to_disk, **others)
        self.path_manager = PathManager

    def load(self, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        path, _, query = path.partition("?")
        if query:
            raise UserError(f"'{path}?{query}': only Detectron2 reads '{query}'. Install it.")
        return super().load(path, *args, **kwargs)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            loaded = read_zoo_pickle(filename)
            if loaded["matching_heuristics"]:
                raise UserError(
                    f"'{filename}' has names of layers that only Detectron2 matches with those of "
                    "a model: install it, or convert the file to a .pth file."
                )
            return loaded
        loaded = torch.load(filename, map_location="cpu", weights_only=True)
        return loaded if "model" in loaded else {"model": loaded}

"""Weight files of any origin, read without running code that they may hold."""

import os
import tarfile
import warnings
from typing import Any

import torch
from torch import Tensor

from ..utils.errors import DamagedFileError, UserError, is_user_error
from ..utils.files import read_json
from ..utils.zoo_pickles import read_zoo_pickle
from .slim import read_slim
from .stored_classes import check_classes
from .tensorflow import read_tensorflow_checkpoint
from .torch_files import check_torch_file

# Where other code keeps the state dict in what it saves, and what it puts before all names.
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "model.")
_LONGEST = 500  # characters of a name
_DTYPES = {
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8),
    *(torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64),
}


def read_checkpoint(path: str, trust: bool = False) -> dict[str, Any]:
    """Read weights to the CPU.

    Files are of torch, of safetensors (see :func:`read_slim`), of Detectron2's model zoo (.pkl) or
    of TensorFlow 2 (.index with .data-... beside it).

    Args:
        path: the file; of a checkpoint of transformers in several files their index (.index.json).
        trust: load Python objects in a file of torch too, which can run code.

    Returns:
        "model": the state dict, without the prefixes of wrappers (``module.``, ``model.``,
        ``_orig_mod.``), and all other entries of the file.

    Raises:
        UserError: the file does not exist, cannot be read, or holds no named tensors of plain
            numbers, or a file or tensor that an index lists is missing.
    """
    index = f"{str(path).partition('.data-0')[0]}.index"
    if index != path and os.path.isfile(index):
        raise UserError(f"'{path}' is a part of a checkpoint of TensorFlow: give '{index}'.")
    if not os.path.isfile(path):
        raise DamagedFileError(f"Checkpoint '{path}' does not exist.")
    if str(path).endswith(".index.json"):
        named, others = _read_listed(path, trust), {}
    else:
        named, others = _read(path, trust)
    check_classes(others.get("metadata"), path)
    return {**others, "model": _without_prefixes(named)}


def _read(path: str, trust: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The named tensors of one file, and all other entries."""
    weights, others = _load(path, trust), {}
    while wrapper := _wrapper_of(weights):
        inner = weights.pop(wrapper)  # a dict may hold itself
        others.update(weights)
        weights = inner
    items = weights.items() if isinstance(weights, dict) else ()
    named = {k: v.detach() for k, v in items if isinstance(k, str) and isinstance(v, Tensor)}
    if not named:
        raise UserError(f"'{path}' holds no named tensors: is it a checkpoint?")
    for name, value in named.items():
        if not name.isprintable() or len(name) > _LONGEST:
            raise UserError(f"'{path}' has a tensor named {name!r:.80}: is it a checkpoint?")
        if value.dtype not in _DTYPES or value.layout != torch.strided:
            raise UserError(
                f"'{name}' of '{path}' is no tensor of plain numbers but of {value.dtype}, "
                f"{value.layout}: save it as torch.float32."
            )
    return named, others


def _read_listed(index: str, trust: bool) -> dict[str, Tensor]:
    """The tensors of all files that an index lists, which lie beside it."""
    content = read_json(index)
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise UserError(f"'{index}' has no 'weight_map': is it the index of a checkpoint?")
    folder = os.path.dirname(index)
    for name in listed.values():
        is_plain = isinstance(name, str) and name == os.path.basename(name)
        if not (is_plain and os.path.isfile(os.path.join(folder, name))):
            raise UserError(
                f"'{index}' lists {name!r:.80}, which is no file beside it: download both again."
            )
    weights = {}
    for name in sorted({*listed.values()}):
        weights |= _read(os.path.join(folder, name), trust)[0]
    if missing := [name for name in listed if name not in weights]:
        raise UserError(
            f"'{index}' lists {missing[0]!r:.80}, which '{listed[missing[0]]}' does not have: "
            "download both again."
        )
    return weights


def _load(path: str, trust: bool) -> Any:
    if str(path).endswith(".pkl"):
        content = read_zoo_pickle(path)
        arrays = content.pop("model").items()
        return {"model": {name: torch.from_numpy(array) for name, array in arrays}, **content}
    if str(path).endswith(".index"):
        return {"model": read_tensorflow_checkpoint(str(path))}
    try:
        if str(path).endswith(".safetensors"):
            return read_slim(path)
        check_torch_file(path, trust)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what an odd file makes torch do
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # bytes that are no weight file can fail in any way
        if is_user_error(error):
            raise
        if tarfile.is_tarfile(path):
            raise UserError(
                f"'{path}' is an archive: unpack it, and give the weight file in it (of a "
                "checkpoint of TensorFlow the one that ends in .index)."
            ) from error
        raise DamagedFileError(
            f"'{path}' cannot be read: it is damaged, no weight file at all, or holds Python "
            "objects beside its tensors (they can run code; if you trust its source, "
            "psformer convert-weights --trust loads them)."
        ) from error


def _wrapper_of(content: Any) -> str | None:
    """The key under which the weights of ``content`` are, if they are not there directly."""
    keys = _WRAPPERS if isinstance(content, dict) else ()
    return next((key for key in keys if isinstance(content.get(key), dict)), None)


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    weights = {key.replace("_orig_mod.", ""): value for key, value in weights.items()}
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in weights)), None):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights

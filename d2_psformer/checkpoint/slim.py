"""Slim files: the weights of a model, its config and its classes in one safetensors file."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..utils.files import atomic_path

# JSON has no keys but texts: dicts by category id become lists of pairs.
_ID_MAP = "_to_contiguous_id"


def write_slim(
    path: str | os.PathLike, model_state: Mapping[str, Tensor], config_text: str, metadata: dict
) -> None:
    """Write ``path`` atomically.

    Args:
        path: ends in .safetensors.
        model_state: the state dict.
        config_text: ``cfg.dump()``.
        metadata: of :func:`class_metadata`.
    """
    texts = {"config": config_text, "metadata": json.dumps(_with_id_maps(metadata, _pairs))}
    with atomic_path(path) as temporary:
        weights = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in model_state.items()
        }
        save_file(weights, temporary, {"format": "pt", **texts})


def read_slim(path: str | os.PathLike) -> dict[str, Any]:
    """Read any safetensors file to the CPU.

    Returns:
        "model": its tensors by name; of a slim file "config", a YAML text, and "metadata" of
        :func:`class_metadata` too.
    """
    with safe_open(path, "pt") as file:
        texts = file.metadata() or {}
        names = file.keys()
        content: dict[str, Any] = {"model": {name: file.get_tensor(name) for name in names}}
    if "config" in texts and "metadata" in texts:
        content["config"] = texts["config"]
        content["metadata"] = _with_id_maps(json.loads(texts["metadata"]), dict)
    return content


def _with_id_maps(metadata: dict, convert: Callable) -> dict:
    return {k: convert(v) if k.endswith(_ID_MAP) else v for k, v in metadata.items()}


def _pairs(id_map: dict) -> list[tuple]:
    return list(id_map.items())

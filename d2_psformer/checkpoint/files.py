"""Weight files of any origin."""

import os

import torch
from safetensors.torch import load_file
from torch import Tensor

# where other code bases keep the state dict in what they save
_WRAPPERS = ("state_dict", "model")


def read_weights(path: str, trust: bool = False) -> dict[str, Tensor]:
    """The state dict in a file of torch or safetensors, taken out of its wrapper.

    Args:
        trust: load Python objects in the file too, which can run code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no named tensors.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weight file '{path}'.")
    try:
        if str(path).endswith(".safetensors"):
            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=not trust)
    except OSError:
        raise
    except Exception as error:  # bytes that are no weight file can fail in any way
        raise ValueError(
            f"'{path}' cannot be read: it is damaged, no weight file at all, or holds Python "
            "objects beside its tensors (they can run code; if you trust its source, "
            "tools/convert_checkpoint.py --trust loads them)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, dict):
            content = content.get(wrapper, content)
    if not isinstance(content, dict) or not any(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"'{path}' holds no named tensors: is it a checkpoint?")
    return content

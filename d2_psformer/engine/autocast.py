"""The type of autocast where the config leaves it open."""

import torch

# Pixels that the sides of an image need: on CPUs with AMX, convolutions in bfloat16 whose output is
# one column wide read memory that was never written (torch 2.14), and maps are up to 64 times
# smaller than the image.
LEAST_SIDES = {"cpu": 128}
_CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


def fast_type(device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device has instructions for it, else None (float32).

    CPUs count if PyTorch is new enough to report their instructions.
    """
    if device.type == "cuda":
        is_fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
        is_fast = device.type == "cpu" and any(capabilities.get(x) for x in _CPU_INSTRUCTIONS)
    return torch.bfloat16 if is_fast else None

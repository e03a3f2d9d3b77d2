"""What one forward pass computes, module by module, from the shapes of its tensors alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from d2_psformer.modeling.transformer_decoder.mask_attention import MaskAttention
from d2_psformer.ops import backends

from .formulas import ACTIVATING, FORMULAS, FREE


@dataclass
class Counts:
    """Of one forward pass.

    Attributes:
        flops: (module, kind of operator) -> multiply-adds; a module's own, without its children's.
        activations: module -> numbers that products, convolutions and attention give.
        uncounted: operator -> numbers that it gives; their arithmetic is in no formula.
    """

    flops: Counter[tuple[str, str]] = field(default_factory=Counter)
    activations: Counter[str] = field(default_factory=Counter)
    uncounted: Counter[str] = field(default_factory=Counter)

    def flops_of(self, module: str = "") -> int:
        """Of a module and all inside."""
        return sum(n for (name, _), n in self.flops.items() if is_inside(name, module))

    def activations_of(self, module: str = "") -> int:
        """Of a module and all inside."""
        return sum(n for name, n in self.activations.items() if is_inside(name, module))

    def flops_by_kind(self, module: str = "") -> Counter[str]:
        """Of a module and all inside, by kind of operator."""
        kinds: Counter[str] = Counter()
        for (name, kind), number in self.flops.items():
            if is_inside(name, module):
                kinds[kind] += number
        return kinds


def is_inside(name: str, module: str) -> bool:
    """Whether a module's name is another's or that of something inside of it; "" has all."""
    return not module or name == module or name.startswith(f"{module}.")


def count(model: nn.Module, *inputs) -> Counts:
    """Run ``model(*inputs)`` and count; on the device "meta" it takes no time and no memory.

    There numbers do not exist: where the distinct ones among them are asked for, all are.
    """
    counts = Counts()
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        # attention as one operator, also where no kernel for it is compiled
        stack.enter_context(mock.patch.object(backends, "default", lambda device_type: "auto"))
        # keys and values are projected before they are read, as papers count them
        stack.enter_context(mock.patch.object(MaskAttention, "_are_few", lambda *_: False))
        # and multi-head attention as what it is made of: PyTorch's own operator has no formula
        mha = torch.backends.mha
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        scopes = stack.enter_context(_scopes(model))
        stack.enter_context(_Counter(counts, scopes))
        model(*inputs)
    return counts


class _Counter(TorchDispatchMode):
    """Sees every operator after PyTorch has taken composite ones apart."""

    def __init__(self, counts: Counts, scopes: list[str]):
        super().__init__()
        self.counts, self.scopes = counts, scopes

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function.overloadpacket)
        if name == "aten._unique2" and args[0].is_meta:
            return _all_distinct(args[0])
        result = function(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple | list) else result
        if name in FORMULAS:
            kind, formula = FORMULAS[name]
            self.counts.flops[self.scopes[-1], kind] += formula(args, output)
            if kind in ACTIVATING:
                self.counts.activations[self.scopes[-1]] += output.numel()
        elif _computes(name, function, output):
            self.counts.uncounted[name.removeprefix("aten.")] += output.numel()
        return result


def _computes(name: str, function, output) -> bool:
    is_number = isinstance(output, Tensor) and output.is_floating_point()
    return is_number and name not in FREE and not function.is_view


def _all_distinct(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    places = torch.empty_like(values, dtype=torch.long)
    return values.flatten(), places, places.flatten()


@contextmanager
def _scopes(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are being called, the innermost last; "" is the model."""
    scopes = [""]
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: scopes.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: _leave(scopes), always_call=True))
    try:
        yield scopes
    finally:
        for hook in hooks:
            hook.remove()


def _leave(scopes: list[str]) -> None:
    scopes.pop()

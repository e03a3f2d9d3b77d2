"""Multiply-adds of operators, by the convention of fvcore: one multiply-add is one FLOP.

Matrix products and convolutions are counted by PyTorch's own formulas. Fused attention is counted
here, because PyTorch's table names its operators differently from release to release. Sums,
products and functions of single numbers are not counted, as in fvcore.
"""

import math
from collections.abc import Callable

from torch import Tensor
from torch.utils.flop_counter import flop_registry

import d2_psformer.ops  # noqa: F401  registers the operator

# (positional arguments, output) -> multiply-adds
Formula = Callable[[tuple, Tensor], int]


def ms_deform_attn_flops(sampling_shape: tuple[int, ...], channels: int) -> int:
    """Multi-scale deformable attention, classic or fused (without its softmax).

    A sample of a channel is four corners times their bilinear weights; then the sample is weighed.

    Args:
        sampling_shape: (B, Q, heads, levels, points, 2).
        channels: of one head.
    """
    return 5 * math.prod(sampling_shape[:-1]) * channels


def _deformable(args: tuple, out: Tensor) -> int:
    value, _, sampling = args[:3]
    return ms_deform_attn_flops(sampling.shape, value.shape[-1])


def _attention(args: tuple, out: Tensor) -> int:
    """Queries by keys, and weights by values: (..., Q, D), (..., K, D), (..., K, V)."""
    query, key, value = args[:3]
    return query[..., 0].numel() * key.shape[-2] * (key.shape[-1] + value.shape[-1])


def _by_torch(formula: Callable) -> Formula:
    """PyTorch counts a multiply-add as two."""
    return lambda args, out: formula(*args, out_val=out) // 2


def _per_input(affine: int, with_affine: int, without: int) -> Formula:
    """Norms: so many a number, by whether the argument at ``affine`` is there."""
    return lambda args, out: args[0].numel() * (without if args[affine] is None else with_affine)


def _per_output(number: int) -> Formula:
    return lambda args, out: out.numel() * number


# Kinds whose results are activations in fvcore's sense: products and convolutions. Operators are
# named as in PyTorch's dispatcher.
_PRODUCTS = {
    "linear": ("aten.addmm", "aten.mm"),
    "matmul": ("aten.bmm", "aten.baddbmm"),
    "convolution": ("aten.convolution",),
}
# Each PyTorch has some of these.
_FUSED_ATTENTION = (
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
)
ACTIVATING = frozenset({*_PRODUCTS, "attention", "deformable attention"})
_OF_TORCH = {str(packet): _by_torch(formula) for packet, formula in flop_registry.items()}
# operator: its kind and its formula
FORMULAS: dict[str, tuple[str, Formula]] = {
    name: (kind, _OF_TORCH[name]) for kind, names in _PRODUCTS.items() for name in names
}
FORMULAS |= dict.fromkeys(_FUSED_ATTENTION, ("attention", _attention))
FORMULAS |= {
    # what our linear layers call on a CPU
    "mkldnn._linear_pointwise": ("linear", lambda args, out: out.numel() * args[0].shape[-1]),
    "d2_psformer.ms_deform_attn": ("deformable attention", _deformable),
    "aten.native_batch_norm": ("norm", _per_input(1, with_affine=2, without=1)),
    "aten.native_layer_norm": ("norm", _per_input(2, with_affine=5, without=4)),
    "aten.native_group_norm": ("norm", _per_input(1, with_affine=5, without=4)),
    "aten.upsample_bilinear2d": ("resize", _per_output(4)),
    "aten.upsample_nearest2d": ("resize", _per_output(1)),
    "aten.grid_sampler_2d": ("resize", _per_output(4)),
    "aten._adaptive_avg_pool2d": ("pool", lambda args, out: args[0].numel()),
}

# Operators that give numbers with a point but do no arithmetic on them: they make, copy, compare,
# choose or rearrange them. Views are known without being named.
_FREE_NAMES = [
    "_local_scalar_dense", "_to_copy", "_unique2", "_unsafe_view", "arange", "cat", "clamp",
    "clone", "constant_pad_nd", "copy", "copy_", "detach", "empty", "empty_like", "fill", "fill_",
    "floor", "full", "full_like", "index", "index_put_", "index_select", "lift_fresh",
    "masked_fill", "masked_fill_", "max_pool2d_with_indices", "new_empty", "new_full", "new_zeros",
    "ones", "ones_like", "relu", "relu_", "repeat", "roll", "scalar_tensor", "squeeze_", "stack",
    "topk", "unsqueeze_", "zero_", "zeros", "zeros_like",
]  # fmt: skip
FREE = frozenset(f"aten.{name}" for name in _FREE_NAMES)

"""Batch normalisation with fixed statistics and parameters."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class FrozenBatchNorm2d(nn.Module):
    """Batch norm of which nothing is trained: all four vectors are buffers, at first identity.

    ``num_batches_tracked`` is kept when an ordinary batch norm is converted, so that a state dict
    fits both.
    """

    _version = 3  # state dicts from 2 on have running_mean and running_var

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)
        self.register_buffer("num_batches_tracked", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N,C,H,W); the dtype stays."""
        if not x.requires_grad:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # F.batch_norm would spend memory on gradients of weight and bias.
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict, *args: Any
    ) -> None:
        if local_metadata.get("version") is None or local_metadata["version"] < 2:
            state_dict.setdefault(prefix + "running_mean", torch.zeros_like(self.running_mean))
            state_dict.setdefault(prefix + "running_var", torch.ones_like(self.running_var))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, eps={self.eps}"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Replace every BatchNorm2d and SyncBatchNorm in ``module``, in place; returns the result.

        A module that is itself a batch norm is not changed: its frozen twin is returned.
        """
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            return cls._frozen_copy(module)
        for name, child in module.named_children():
            frozen = cls.convert_frozen_batchnorm(child)
            if frozen is not child:
                module.add_module(name, frozen)
        return module

    @classmethod
    def _frozen_copy(cls, norm: nn.Module) -> "FrozenBatchNorm2d":
        frozen = cls(norm.num_features, norm.eps)
        if norm.affine:
            frozen.weight = norm.weight.detach().clone()
            frozen.bias = norm.bias.detach().clone()
        frozen.running_mean = norm.running_mean
        frozen.running_var = norm.running_var
        frozen.num_batches_tracked = norm.num_batches_tracked
        return frozen

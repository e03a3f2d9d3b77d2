"""Adam as TensorFlow's Keras has it."""

import math

import torch

# Keras's, which deeplab2 trains with.
_EPSILON = 1e-7


class KerasAdam(torch.optim.Adam):
    """Adam whose epsilon is added to the root of the second moment before its bias correction.

    Kingma and Ba (https://arxiv.org/abs/1412.6980) call it epsilon hat. Early steps of parameters
    with tiny gradients are shorter by it: in step t, torch's epsilon would be
    ``1e-7 / sqrt(1 - beta2 ** t)``, 3e-6 in the first.
    """

    def step(self, closure=None):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            group["eps"] = _EPSILON / math.sqrt(1 - group["betas"][1] ** group["step"])
        return super().step(closure)

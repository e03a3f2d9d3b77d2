"""Trained models from files, from configs with weights, and from huggingface.co."""

import torch

from .configs import Device, Options, StrPath, model_config
from .model import Model


def load(
    source: StrPath,
    *,
    weights: StrPath | None = None,
    device: Device = None,
    dtype: str | torch.dtype | None = None,
    options: Options = None,
) -> Model:
    """Load a trained model.

    Args:
        source: a checkpoint with its config inside or ``config.yaml`` beside it; the output folder
            of a training, whose last checkpoint is taken; "hf:owner/name", a model on
            huggingface.co; or, with ``weights``, a config by file or name, as in
            ``load("coco/psformer_R50_2x", weights="model.pth")``.
        weights: the checkpoint for a config.
        device: "cuda", "cpu" and others of torch; default the GPU, or the CPU where there is none.
        dtype: of the computation: "float32", "bfloat16", "float16", a type of torch, or "auto", the
            default of configs: bfloat16 where the device is fast with it.
        options: other settings, as {"MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.5}.

    Raises:
        UserError: a file is missing or does not fit, there is no config, or no such device.
    """
    cfg = model_config(source, weights, device, options)
    if dtype is not None:
        cfg.MODEL.AUTOCAST = str(dtype).removeprefix("torch.")
    return Model(cfg)

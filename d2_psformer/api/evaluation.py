"""Evaluation by the engine of ``psformer evaluate``."""

import os
from typing import Any

from ..d2.config import CfgNode
from ..data import register_from_config
from ..data.description import read_data_yaml
from ..engine import evaluate as evaluate_model
from .configs import Device, Options, StrPath, merge_options, model_config


def evaluate(
    model: StrPath,
    *,
    weights: StrPath | None = None,
    data: StrPath | None = None,
    output: StrPath = "output",
    device: Device = None,
    options: Options = None,
) -> dict[str, Any]:
    """Evaluate a trained model in this process.

    Args:
        model, weights, device: see :func:`d2_psformer.load`.
        data: a ``data.yaml``, which names the files of a data set, or its folder; default the
            config's DATASETS.TEST.
        output: folder for predictions and figures.
        options: other settings.

    Returns:
        {task: {metric: value}} of the one data set, or {data set: that} of several. PQ, mIoU and
        AP are in percent.

    Raises:
        UserError: a file, a key or a value is wrong, or the classes of the data are not the
            model's.
    """
    return evaluate_config(model_config(model, weights, device), data, output, options)


def evaluate_config(
    cfg: CfgNode, data: StrPath | None, output: StrPath, options: Options
) -> dict[str, Any]:
    """Evaluate MODEL.WEIGHTS, see :func:`evaluate`; the config stays as it is."""
    cfg = cfg.clone()
    cfg.defrost()
    if data is not None:
        cfg.merge_loaded(read_data_yaml(data), os.fspath(data))
    cfg.OUTPUT_DIR = os.fspath(output)
    merge_options(cfg, options)
    register_from_config(cfg)
    results: dict[str, Any] = evaluate_model(cfg)
    return results

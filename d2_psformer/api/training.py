"""Training by the engine of ``psformer train``."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..d2.config import CfgNode
from ..engine import Trainer, setup
from .configs import Device, Options, StrPath, checked_device
from .model import Model


def train(
    config: StrPath,
    *,
    data: StrPath | None = None,
    output: StrPath = "output",
    weights: StrPath | None = None,
    device: Device = None,
    resume: bool = False,
    options: Options = None,
) -> Model:
    """Train a model in this process, on one device.

    ::

        model = d2_psformer.train(
            "scenes/demo", data="mine/data.yaml", options={"SOLVER.MAX_ITER": 1000}
        )
        print(model.results["panoptic_seg"]["PQ"])

    Args:
        config: a file, or a name of a config of this package, as "coco/psformer_R50_2x".
        data: a ``data.yaml``, which names the files of a data set, or its folder; default the data
            sets of the config.
        output: folder for checkpoints, logs and curves.
        weights: a checkpoint to start from.
        device: "cuda", "cpu" and others of torch; default the config's, or the CPU where no GPU is.
        resume: continue from the last checkpoint in ``output``, if there is one. Without it, a
            folder that holds a training is refused.
        options: other settings.

    Returns:
        The trained model, with the ``results`` of the evaluation at the end.

    Raises:
        UserError: a file, a key or a value is wrong.
    """
    settings = {**(options or {}), "OUTPUT_DIR": os.fspath(output)}
    if weights is not None:
        settings["MODEL.WEIGHTS"] = os.fspath(weights)
    if device is not None:
        settings["MODEL.DEVICE"] = checked_device(device)
    cfg = setup(
        argparse.Namespace(
            config_file=os.fspath(config),
            opts=[part for pair in settings.items() for part in pair],
            data=None if data is None else os.fspath(data),
            eval_only=False,
            resume=resume,
        )
    )
    results = _train(cfg, resume)
    trained = cfg.clone()
    trained.defrost()
    trained.MODEL.WEIGHTS = str(Path(output, "model_final.pth"))
    return Model(trained, results)


def _train(cfg: CfgNode, resume: bool) -> dict[str, Any]:
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    results: dict[str, Any] = trainer.train()
    return results

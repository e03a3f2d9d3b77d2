"""From the config of a trained model to a file that was compared with the model."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..checkpoint import read_checkpoint, write_slim
from ..classes import Classes
from ..d2.config import CfgNode
from ..data.class_metadata import class_metadata
from ..data.scenes import generate_scene
from ..deployment.preprocessing import prepare
from ..engine import Predictor
from ..utils.checks import check_choice
from ..utils.errors import UserError
from ..utils.files import atomic_path
from .files import OPSET, write_onnx, write_program
from .network import ExportedNetwork, Size, trace
from .settings import deployment_settings
from .verification import (
    check_differences,
    largest_differences,
    run_network,
    run_onnx,
    run_program,
)

BOUND = 1e-3
# Heights and widths of generated images that the file is tried with.
_TRIED = ((96, 128), (128, 96), (90, 160))


def export(
    cfg: CfgNode,
    path: Path,
    kind: str,
    *,
    size: Size | None = None,
    fixed: bool = False,
    opset: int = OPSET,
    int8: bool = False,
    bound: float | None = None,
) -> dict[str, float]:
    """Write the network of MODEL.WEIGHTS in float32, with what postprocessing must know.

    Args:
        path: the file.
        kind: "onnx" or "program".
        size: height and width of the canvas that is traced; default that of a 480 x 640 image.
        fixed: the file takes one image of this canvas alone.
        opset: of ONNX.
        int8: see :func:`.write_onnx`.
        bound: the largest difference from the model, as a share of the largest value; default
            BOUND, and none for ``int8``.

    Returns:
        The largest differences on generated images by output.

    Raises:
        UserError: the model cannot be loaded or exported, or differs too much; nothing is written.
    """
    check_choice(("onnx", "program"), format=kind)
    predictor = Predictor(_for_export(cfg))
    network = ExportedNetwork(
        predictor.model, bgr=cfg.INPUT.FORMAT == "BGR", grey_padding=cfg.INPUT.DEEPLAB2.ENABLED
    )
    categories = Classes.from_metadata(predictor.metadata).categories()
    settings = deployment_settings(cfg, network, categories, None)
    canvas = _canvas(size or settings["canvas"] or (480, 640), settings)
    if fixed:
        settings["canvas"] = canvas
    program = trace(network, canvas, fixed)
    with atomic_path(path) as temporary:
        if kind == "onnx":
            names = network.kinds()[0]
            write_onnx(program, names, temporary, settings, opset=opset, int8=int8)
        else:
            write_program(program, temporary, settings)
        found = run_onnx(temporary) if kind == "onnx" else run_program(temporary)
        tried = _inputs(settings)
        differences = largest_differences(run_network(network), found, tried)
        if bound is None:
            bound = math.inf if int8 else BOUND
        check_differences(differences, bound)
    return differences


def export_safetensors(cfg: CfgNode, path: Path) -> None:
    """Write a slim file: see :func:`.write_slim`.

    Raises:
        UserError: the weights are missing or do not fit the config.
    """
    predictor = Predictor(cfg)  # refuses weights that do not fit
    name = predictor.metadata.name
    state = read_checkpoint(cfg.MODEL.WEIGHTS)["model"]
    config = cfg.clone()
    config.defrost()
    config.MODEL.WEIGHTS = ""
    write_slim(path, state, config.dump(), class_metadata(name))


def _for_export(cfg: CfgNode) -> CfgNode:
    """The config of a model that is computed as it is written: in float32, on the CPU."""
    cfg = cfg.clone()
    cfg.defrost()
    node = cfg.MODEL.POSTPROCESSING
    if not (node.PANOPTIC_ON or node.SEMANTIC_ON):
        raise UserError(
            "Exported models give panoptic and semantic results, and this config switches both "
            "off: set MODEL.POSTPROCESSING.PANOPTIC_ON True."
        )
    if node.WINDOW:
        raise UserError(
            f"MODEL.POSTPROCESSING.WINDOW is {node.WINDOW}, and an exported model reads images as "
            "a whole: set it to 0."
        )
    cfg.MODEL.AUTOCAST, cfg.MODEL.DEVICE, cfg.MODEL.COMPILE = "float32", "cpu", False
    return cfg


def _canvas(size: Size, settings: dict) -> Size:
    """The next canvas that the network takes."""
    multiple, more = settings["multiple"], settings["more"]
    height, width = (math.ceil(max(side - more, 1) / multiple) * multiple + more for side in size)
    return height, width


def _inputs(settings: dict) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Generated images, resized and padded as in deployment, one by one."""
    for seed, (height, width) in enumerate(_TRIED):
        picture, _, _ = generate_scene(seed, size=max(height, width))
        canvas, size = prepare(np.ascontiguousarray(picture[:height, :width]), settings)
        yield canvas[None], np.array([size])

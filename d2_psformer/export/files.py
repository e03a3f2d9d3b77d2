"""The files that an exported model is written to."""

import json
import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..deployment.model import KEY
from ..utils.errors import UserError

OPSET = 20  # the first one whose GridSample knows all that deformable attention asks of it


def write_onnx(
    program: torch.export.ExportedProgram,
    names: tuple[str, ...],
    path: Path,
    settings: dict[str, Any],
    *,
    opset: int = OPSET,
    int8: bool = False,
) -> None:
    """Write an ONNX file of standard operators, with the settings among its metadata.

    Args:
        names: of the outputs.
        settings: of :func:`.deployment_settings`.
        int8: matrices of weights are stored in 8 bits, and multiplied in 8 bits too (dynamic
            quantisation of onnxruntime); convolutions stay as they are.

    Raises:
        UserError: onnx, onnxscript or, for ``int8``, onnxruntime is not installed.
    """
    import_or_tell("onnx", "onnxscript", *(["onnxruntime"] if int8 else []))
    with quiet():
        onnx_program = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=opset,
            input_names=["images", "sizes"],
            output_names=list(names),
            verbose=False,
        )
        onnx_program.model.metadata_props[KEY] = json.dumps(settings)
        onnx_program.save(path, external_data=False)
        if int8:
            from onnxruntime.quantization import quantize_dynamic

            quantize_dynamic(path, path, op_types_to_quantize=["MatMul", "Gemm"])


def write_program(
    program: torch.export.ExportedProgram, path: Path, settings: dict[str, Any]
) -> None:
    """Write a program of torch.export, with the settings as its extra file "d2_psformer"."""
    with quiet():
        torch.export.save(program, path, extra_files={KEY: json.dumps(settings)})


def import_or_tell(*packages: str) -> None:
    """
    Raises:
        UserError: a package is not installed.
    """
    import importlib.util

    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise UserError(f"This needs {' and '.join(missing)}: pip install 'd2_psformer[export]'.")


@contextmanager
def quiet():
    """Keep what exporters write about their own insides off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

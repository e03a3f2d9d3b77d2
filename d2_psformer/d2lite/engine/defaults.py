"""Command line, set-up of a run, writers, and a predictor for single images."""

import argparse
import os
import sys

import numpy as np
import torch

from ..checkpoint import DetectionCheckpointer
from ..config import CfgNode
from ..data import MetadataCatalog
from ..data.transforms import ResizeShortestEdge
from ..modeling import build_model
from ..utils import comm
from ..utils.collect_env import collect_env_info
from ..utils.env import seed_all_rng
from ..utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter
from ..utils.file_io import PathManager
from ..utils.logger import setup_logger

__all__ = ["DefaultPredictor", "default_argument_parser", "default_setup", "default_writers"]

_EXAMPLES = """
Examples:
  one machine:      {prog} --num-gpus 8 --config-file FILE.yaml
  other settings:   {prog} --config-file FILE.yaml MODEL.WEIGHTS model.pth SOLVER.BASE_LR 0.001
  two machines:     {prog} --num-machines 2 --machine-rank 0 --dist-url tcp://HOST:PORT ...
                    {prog} --num-machines 2 --machine-rank 1 --dist-url tcp://HOST:PORT ...
"""


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """The options that training commands share."""
    parser = argparse.ArgumentParser(
        epilog=epilog or _EXAMPLES.format(prog=sys.argv[0]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config-file", default="", metavar="FILE", help="YAML file of settings")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in OUTPUT_DIR, if there is one",
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes on this machine")
    parser.add_argument("--num-machines", type=int, default=1, help="machines in all")
    parser.add_argument("--machine-rank", type=int, default=0, help="this machine, from 0")
    parser.add_argument(
        "--dist-url",
        default=f"tcp://127.0.0.1:{_port_of_user()}",
        help="where the processes meet, as tcp://host:port, or 'auto' on one machine",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        default=None,
        help="settings that replace those of the file: KEY VALUE KEY VALUE ..., at the very end",
    )
    return parser


def _port_of_user() -> int:
    """A port above 49151, the same for every run of a user: orphaned processes show up at once."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return 2**15 + 2**14 + user % 2**14


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Loggers, a log of environment, arguments and config, ``OUTPUT_DIR/config.yaml``, seeds."""
    output_dir = cfg.OUTPUT_DIR
    is_main = comm.is_main_process()
    if is_main and output_dir:
        PathManager.mkdirs(output_dir)
    rank = comm.get_rank()
    setup_logger(output_dir or None, distributed_rank=rank, name="fvcore")
    logger = setup_logger(output_dir or None, distributed_rank=rank)

    logger.info("Rank of current process: %d. World size: %d", rank, comm.get_world_size())
    logger.info("Environment info:\n%s", collect_env_info())
    logger.info("Command line arguments: %s", args)
    config_file = getattr(args, "config_file", "")
    if config_file:
        with PathManager.open(config_file, "r") as file:
            logger.info("Contents of args.config_file=%s:\n%s", config_file, file.read())
    if is_main and output_dir:
        logger.info("Running with full config:\n%s", cfg.dump())
        path = os.path.join(output_dir, "config.yaml")
        with PathManager.open(f"{path}.tmp", "w") as file:
            file.write(cfg.dump())
        os.replace(f"{path}.tmp", path)  # whole, or the one before
        logger.info("Full config saved to %s", path)

    # Processes must not draw the same random numbers.
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    if cfg.FLOAT32_PRECISION and torch.cuda.is_available():
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """Writers to the terminal, to ``metrics.json`` and to TensorBoard files in ``output_dir``."""
    PathManager.mkdirs(output_dir)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]


class DefaultPredictor:
    """A model with the weights of ``cfg.MODEL.WEIGHTS``, applied to one BGR image at a time.

    Attributes:
        metadata: of ``cfg.DATASETS.TEST[0]``, if the config names one.
    """

    def __init__(self, cfg: CfgNode):
        self.cfg = cfg.clone()
        self.input_format = cfg.INPUT.FORMAT
        if self.input_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT is '{self.input_format}': it must be 'RGB' or 'BGR'.")
        self.model = build_model(self.cfg)
        self.model.eval()
        if len(cfg.DATASETS.TEST):
            self.metadata = MetadataCatalog.get(cfg.DATASETS.TEST[0])
        DetectionCheckpointer(self.model).load(cfg.MODEL.WEIGHTS)
        self.aug = ResizeShortestEdge(
            [cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST
        )

    def __call__(self, original_image: np.ndarray) -> dict:
        """Predict on a uint8 image (H,W,3) in BGR order.

        Returns:
            the model's output for this one image, at its size.
        """
        with torch.no_grad():
            if self.input_format == "RGB":
                original_image = original_image[:, :, ::-1]
            height, width = original_image.shape[:2]
            image = self.aug.get_transform(original_image).apply_image(original_image)
            image = torch.as_tensor(image.astype("float32").transpose(2, 0, 1))
            return self.model([{"image": image, "height": height, "width": width}])[0]

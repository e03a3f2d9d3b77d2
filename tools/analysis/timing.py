"""How long each module takes on this machine."""

import statistics
import time
from collections import defaultdict

import torch
from torch import nn
from tqdm import tqdm

from d2_psformer.d2.config import CfgNode
from d2_psformer.d2.modeling import build_model


def seconds_by_module(cfg: CfgNode, size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Median seconds in every module, its children's included; "" is the model.

    Random weights and a random image: the merging of results has little to do. A list of modules,
    which is never called itself, takes what its members take.

    Args:
        rounds: forward passes; one more warms up.
    """
    cfg = cfg.clone()
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    stopwatch = _Stopwatch(model, cfg.MODEL.DEVICE)
    inputs = [{"image": torch.rand(3, *size) * 255}]
    passes = []
    with torch.no_grad():
        for _ in tqdm(range(rounds + 1), desc="timing", unit="pass", disable=None):
            stopwatch.seconds.clear()
            model(inputs)
            passes.append(dict(stopwatch.seconds))
    seconds = {name: statistics.median(p.get(name, 0.0) for p in passes[1:]) for name in passes[1]}
    return _with_lists(model, seconds)


class _Stopwatch:
    """Adds up, by name, how long the modules of a model are being called."""

    def __init__(self, model: nn.Module, device: str):
        self.seconds: dict[str, float] = defaultdict(float)
        self.wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        self.started: list[float] = []
        for name, module in model.named_modules():
            module.register_forward_pre_hook(self._start)
            module.register_forward_hook(lambda *_, name=name: self._stop(name))

    def _start(self, *_) -> None:
        self.wait()
        self.started.append(time.perf_counter())

    def _stop(self, name: str) -> None:
        self.wait()
        self.seconds[name] += time.perf_counter() - self.started.pop()


def _with_lists(model: nn.Module, seconds: dict[str, float]) -> dict[str, float]:
    for name, module in reversed(list(model.named_modules())):
        if isinstance(module, nn.ModuleList) and name not in seconds:
            seconds[name] = sum(seconds.get(f"{name}.{i}", 0.0) for i in range(len(module)))
    return seconds

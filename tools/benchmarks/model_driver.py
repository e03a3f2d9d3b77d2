"""One model in a process of its own: builds it, then runs it once for every line on its input.

`tools/benchmarks/model.py` starts it in a checkout of this project, whose package it measures; it
uses nothing of the package but what a user's program uses. It prints lines of JSON: first the peak
memory of a call, then the seconds of each call.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .timing import peak_memory, seconds_of

THINGS, STUFF = 20, 10  # segments of a training image
KEPT = 20  # queries whose masks go into the panoptic map


def main() -> None:
    spec = json.loads(sys.argv[1])
    # Only answers go to the standard output; what libraries print goes to the standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(spec["threads"])
    note = None if spec["is_peer"] else check_package(spec["device"])
    call = build(spec)
    peak = peak_memory(call, spec["device"])
    answers.write(json.dumps({"peak": peak, "note": note}) + "\n")
    for _ in sys.stdin:
        answers.write(json.dumps(seconds_of(call, spec["device"])) + "\n")


def check_package(device: str) -> str | None:
    """Why no compiled kernel serves the device; None if one does.

    Raises:
        SystemExit: the current folder, which comes first on the path, has no such package.
    """
    if not Path("d2_psformer").is_dir():
        sys.exit(f"'{Path.cwd()}' is no checkout of this project.")
    from d2_psformer.ops import backends

    return backends.unavailable(device)


def build(spec: dict) -> Callable[[], object]:
    """The call to be measured."""
    image, masks = picture(*spec["size"])
    dtype = getattr(torch, spec["dtype"])
    import d2_psformer.modeling  # noqa: F401  registers models where building them does not
    from d2_psformer import engine

    if hasattr(engine, "keep_freed_memory") and spec["device"] == "cpu":
        engine.keep_freed_memory()  # as the commands of those checkouts do
    cfg = engine.load_config(spec["config"], ["MODEL.DEVICE", spec["device"], *spec["opts"]])
    if spec["is_peer"]:
        return _peer(cfg, spec, image, masks, dtype)
    torch.manual_seed(0)
    make = _inference if spec["what"] == "inference" else _training_step
    return make(cfg, image, masks, dtype)


def _inference(cfg, image: Tensor, masks: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """The predictor that users call, with MODEL.WEIGHTS or random weights."""
    import numpy as np

    from d2_psformer.d2.modeling import build_model
    from d2_psformer.engine import Predictor

    if _classifies_masks(cfg):  # their configs have all results on
        node = cfg.MODEL.POSTPROCESSING
        node.SEMANTIC_ON = node.INSTANCE_ON = False
    cfg.INPUT.MIN_SIZE_TEST = 0  # no resizing
    with tempfile.TemporaryDirectory() as folder:
        if not cfg.MODEL.WEIGHTS:
            cfg.MODEL.WEIGHTS = f"{folder}/random.pth"
            torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
        predictor = Predictor(cfg)
    if _classifies_masks(cfg):
        be_sure(next(m for n, m in predictor.model.named_modules() if n.endswith("class_embed")))
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    device = cfg.MODEL.DEVICE

    def call() -> object:
        with torch.autocast(device, dtype) if dtype != torch.float32 else nullcontext():
            return predictor(pixels)

    return call


def _training_step(cfg, image: Tensor, masks: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """A step as the trainer does it, on one image."""
    from d2_psformer.d2.data import MetadataCatalog
    from d2_psformer.d2.modeling import build_model
    from d2_psformer.d2.structures import BitMasks, Instances
    from d2_psformer.engine import TrainStep, build_gradient_clipper, build_optimizer

    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    things = sorted(metadata.thing_dataset_id_to_contiguous_id.values())
    stuff = sorted({*metadata.stuff_dataset_id_to_contiguous_id.values()} - {*things})
    instances = Instances(tuple(image.shape[1:]))
    instances.gt_masks = BitMasks(masks)
    instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
    classes = [stuff[i % len(stuff)] for i in range(STUFF)]
    classes += [things[i % len(things)] for i in range(THINGS)]
    instances.gt_classes = torch.tensor(classes)
    model = build_model(cfg).train()
    step = TrainStep(
        model,
        build_optimizer(cfg, model),
        clip=build_gradient_clipper(cfg),
        amp_dtype=None if dtype == torch.float32 else dtype,
    )
    return lambda: step([[{"image": image, "instances": instances}]], 0)


def _peer(
    cfg, spec: dict, image: Tensor, masks: Tensor, dtype: torch.dtype
) -> Callable[[], object]:
    from . import peers

    model = peers.build_peer(cfg, **spec["peer_settings"])
    if spec["what"] == "training":
        classes = torch.arange(len(masks))
        return peers.training_step(model, image, masks, classes, dtype)
    if _classifies_masks(cfg):
        be_sure(model.class_predictor)
    run = peers.inference(model, image)

    def call() -> object:
        with torch.autocast(spec["device"], dtype, enabled=dtype != torch.float32):
            return run()

    return call


def _classifies_masks(cfg) -> bool:
    return cfg.MODEL.META_ARCHITECTURE in ("MaskFormer", "Mask2Former", "EoMT")


def be_sure(classifier: nn.Linear) -> None:
    """Let the first KEPT queries be sure of a class each, of things and stuff, the rest of none.

    With random weights no query would be sure of anything, and there would be no map to make. The
    classifier still does its work; its result (..., Q, K + 1) is replaced.
    """
    queries = torch.arange(KEPT)

    def replace(module: nn.Module, inputs: object, logits: Tensor) -> Tensor:
        logits = torch.zeros_like(logits)
        logits[..., -1] = 10.0
        logits[..., queries, queries * logits.shape[-1] // KEPT] = 20.0
        return logits

    classifier.register_forward_hook(replace)


def picture(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image uint8 (3, H, W) and its segments bool (STUFF + THINGS, H, W), stuff first.

    Stuff is made of regions, things are discs in front of them; every segment has a pixel.
    """
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # regions are stripes, things stand in a grid of five columns: no one hides another
    labels = x * STUFF // width
    radii = min(height, width) * (0.03 + 0.07 * torch.rand(THINGS, generator=random))
    for thing in range(THINGS):
        row, column = divmod(thing, 5)
        dy, dx = y - (row + 0.5) * height / 4, x - (column + 0.5) * width / 5
        labels[dy**2 + dx**2 <= radii[thing] ** 2 + 1] = STUFF + thing
    colours = 256 * torch.rand(STUFF + THINGS, 3, generator=random)
    image = colours[labels].permute(2, 0, 1)
    noise = torch.randn(1, 3, height // 8, width // 8, generator=random)
    image = image + 25 * F.interpolate(noise, (height, width), mode="bilinear")[0]
    masks = labels == torch.arange(STUFF + THINGS)[:, None, None]
    return image.clamp(0, 255).to(torch.uint8), masks


if __name__ == "__main__":
    main()

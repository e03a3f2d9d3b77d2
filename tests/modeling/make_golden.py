"""The golden numbers of this repository: what they are, and the command that makes them anew.

``python tests/modeling/make_golden.py`` writes ``golden_own.npz``, but only after the comparison
with the official implementation's numbers has passed: a clone without those can still prove that
it computes the same.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from small_models import fill_by_rule, sample, small_model  # noqa: E402

FILE = Path(__file__).with_name("golden_own.npz")

# like the R50 config in everything but size: frozen stages and norms, four levels
OVERRIDES = {
    "MODEL.BACKBONE.TIMM_NAME": "resnet18",
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.BACKBONE.NORM": "FrozenBN",
    "MODEL.PIXEL_DECODER.DIM": 64,
    "MODEL.PIXEL_DECODER.HEADS": 8,
    "MODEL.TRANSFORMER_DECODER.HEADS": 8,
    "MODEL.PIXEL_DECODER.DIM_FEEDFORWARD": 128,
    "MODEL.TRANSFORMER_DECODER.DIM_FEEDFORWARD": 128,
    "MODEL.PIXEL_DECODER.LAYERS": 2,
    "MODEL.TRANSFORMER_DECODER.LAYERS": 3,
    "MODEL.TRANSFORMER_DECODER.NUM_QUERIES": 30,
    "MODEL.PSFORMER.TOPK": 40,
    "MODEL.POSTPROCESSING.SCORE_THRESHOLD": 0.03,
    "MODEL.POSTPROCESSING.MASK_THRESHOLD": 1.0,
}


def compute() -> dict[str, np.ndarray]:
    """Inference on one image; losses and gradients on a padded batch of two, one without things."""
    model = fill_by_rule(small_model(range(7), range(7, 12), **OVERRIDES))
    first = sample(120, 157, [0, 3, 3, 8, 6, 11, 8])
    second = sample(97, 140, [9, 10], seed=4)
    return inference(model.eval(), first) | training(model.train(), [first, second])


@torch.no_grad()
def inference(model: torch.nn.Module, inputs: dict) -> dict[str, np.ndarray]:
    images = model.normalizer([inputs["image"]])
    features = model.backbone(images.tensor)
    memory = model.pixel_decoder(features, images.padding)
    queries, located = model.location_decoder(memory)
    thing_masks, _ = model.thing_mask_decoder(queries, memory)
    stuff = model.stuff_decoder(memory)
    (output,) = model([inputs | {"height": 240, "width": 314}])
    id_map, segments_info = output["panoptic_seg"]
    return {
        "features": features["res5"][0, ::8].numpy(),
        "memory": memory.tokens[0, ::3, ::2].numpy(),
        "logits": torch.stack(located.logits)[:, 0].numpy(),
        "boxes": torch.stack(located.boxes)[:, 0].numpy(),
        "thing_masks": torch.stack(thing_masks)[:, 0, ::4].numpy(),
        "stuff_masks": torch.stack(stuff.masks)[:, 0].numpy(),
        "stuff_logits": torch.stack(stuff.logits)[:, 0, :, 0].numpy(),
        "id_map": id_map.to(torch.uint8).numpy(),
        "segment_classes": np.array([s["category_id"] for s in segments_info]),
        "segment_scores": np.array([s["score"] for s in segments_info]),
    }


def training(model: torch.nn.Module, batch: list[dict]) -> dict[str, np.ndarray]:
    losses = model(batch)
    sum(losses.values()).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return {
        "loss_names": np.array(list(losses)),
        "losses": np.array([x.item() for x in losses.values()]),
        "gradient_names": np.array(list(trained)),
        "gradient_norms": np.array([p.grad.norm().item() for p in trained.values()]),
    }


def main() -> None:
    tests = sorted(map(str, Path(__file__).parent.glob("test_golden_[!o]*.py")))
    command = [sys.executable, "-m", "pytest", *tests]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode or "skipped" in run.stdout:
        sys.exit(f"Not equal to the official implementation, so nothing is written:\n{run.stdout}")
    np.savez_compressed(FILE, **compute())
    print(f"{FILE}: {FILE.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()

"""An untrained model of a second, its config file and its checkpoint, for tests of commands."""

from pathlib import Path

import torch

import d2_psformer.data.public
import d2_psformer.modeling  # noqa: F401  both register by being imported
from d2_psformer.d2.data import MetadataCatalog
from d2_psformer.d2.modeling import build_model
from d2_psformer.engine import class_metadata, load_config, restore_class_metadata

# Ids with gaps, stuff after things; no data set of this name is registered anywhere.
TOYS = {
    "name": "toys_train",
    "thing_classes": ["ball", "box"],
    "stuff_classes": ["ball", "box", "floor", "wall"],
    "thing_colors": [[250, 0, 0], [0, 250, 0]],
    "stuff_colors": [[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]],
    "thing_dataset_id_to_contiguous_id": {3: 0, 7: 1},
    "stuff_dataset_id_to_contiguous_id": {3: 0, 7: 1, 10: 2, 25: 3},
}

_YAML = """
MODEL:
  META_ARCHITECTURE: PanopticSegFormer
  DEVICE: cpu
  PIXEL_MEAN: [123.0, 116.0, 103.0]
  PIXEL_STD: [58.0, 57.0, 57.0]
  BACKBONE: {{NAME: TimmBackbone, TIMM_NAME: test_resnet, FREEZE_AT: 0}}
  PIXEL_DECODER: {{NUM_LEVELS: 3, DIM: 16, HEADS: 2, LAYERS: 1, DIM_FEEDFORWARD: 16}}
  TRANSFORMER_DECODER: {{NUM_QUERIES: 5, HEADS: 2, LAYERS: 1, DIM_FEEDFORWARD: 16}}
  PSFORMER: {{THING_MASK_LAYERS: 1, STUFF_MASK_LAYERS: 1}}
  # whatever the untrained model finds is taken
  POSTPROCESSING: {{SCORE_THRESHOLD: 0.0, MASK_THRESHOLD: 0.0, THING_OVERLAP_THRESHOLD: 1.0}}
DATASETS: {{TRAIN: ["{name}"]}}
INPUT: {{FORMAT: RGB, MIN_SIZE_TEST: 64, MAX_SIZE_TEST: 96}}
DATALOADER: {{NUM_WORKERS: 0}}
VERSION: 2
"""


def write_tiny_model(folder: Path, name: str = "toys_train") -> tuple[Path, Path]:
    """Write ``tiny.yaml`` and ``tiny.pth``, which knows its classes; leaves the catalog clean.

    Args:
        name: of DATASETS.TRAIN; its classes are those of the catalog, or of TOYS.
    """
    config, checkpoint = folder / "tiny.yaml", folder / "tiny.pth"
    config.write_text(_YAML.format(name=name))
    is_unknown = name not in MetadataCatalog.list()
    if is_unknown:
        restore_class_metadata({**TOYS, "name": name})
    torch.manual_seed(0)
    model = build_model(load_config(str(config)))
    torch.save({"model": model.state_dict(), "metadata": class_metadata(name)}, checkpoint)
    if is_unknown:
        MetadataCatalog.remove(name)
    return config, checkpoint

"""The reference's weights and inputs, given to our model."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from d2_psformer import add_psformer_config
from d2_psformer.checkpoint import convert_official
from d2_psformer.d2.config import get_cfg
from d2_psformer.d2.modeling import build_model
from d2_psformer.d2.structures import BitMasks, Boxes, Instances

CONFIGS = Path(__file__).parents[2] / "configs"


def official_weights(
    reference: Path, shapes: str, prefixes: tuple[str, ...] = ("",)
) -> dict[str, torch.Tensor]:
    """The reference's made-up weights under the official names that begin with a prefix."""
    spec = importlib.util.spec_from_file_location("golden_weights", reference / "weights.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    names = json.loads((reference / "shapes" / f"{shapes}.json").read_text())
    chosen = {name: shape for name, shape in names.items() if name.startswith(prefixes)}
    return {name: rule.tensor_for(name, shape) for name, shape in chosen.items()}


def read_config(name: str, *opts):
    import d2_psformer.data.public
    import d2_psformer.modeling  # noqa: F401  (both register by being imported)

    cfg = get_cfg()
    add_psformer_config(cfg)
    cfg.merge_from_file(str(CONFIGS / name))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", *opts])
    return cfg


@pytest.fixture(scope="session")
def make_config():
    """A function from the name of a config, and overrides, to the config."""
    return read_config


def build_golden_model(reference: Path, config_name: str, shapes: str):
    """A model of one of our configs with the reference's weights, every parameter covered."""
    # the reference's inputs are normalised already
    cfg = read_config(config_name, "MODEL.PIXEL_MEAN", [0.0] * 3, "MODEL.PIXEL_STD", [1.0] * 3)
    model = build_model(cfg)
    model.load_state_dict(convert_official(official_weights(reference, shapes)))
    return model.eval()


@pytest.fixture(scope="session")
def golden_r50(reference):
    return build_golden_model(reference, "coco/psformer_R50_2x.yaml", "r50")


@pytest.fixture(scope="session")
def golden_weights(reference):
    """A function from a file of ``shapes``, and prefixes of official names, to our state dict."""

    def weights(shapes: str, *prefixes: str) -> dict[str, torch.Tensor]:
        return convert_official(official_weights(reference, shapes, prefixes))

    return weights


@functools.cache
def read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="session")
def arrays():
    """A function that reads an .npz file, each once a session."""
    return read_arrays


class GoldenInputs:
    """The two images of ``inputs.npz`` as Detectron2 dicts."""

    def __init__(self, reference: Path):
        self.data = read_arrays(reference / "inputs.npz")

    def sample(self, image: int, padded: bool = False, keep: str = "all") -> dict:
        """keep: "all", "nothing" (no things), "nostuff" or "empty" (neither)."""
        height, width, _ = self.data[f"img{image}/img_shape"].tolist()
        ori_height, ori_width, _ = self.data[f"img{image}/ori_shape"].tolist()
        pixels = torch.from_numpy(self.data["img"][image])
        labels = torch.from_numpy(self.data[f"img{image}/gt_labels"])
        boxes = torch.from_numpy(self.data[f"img{image}/gt_bboxes"])
        shape = self.data[f"img{image}/gt_masks_shape"]
        bits = np.unpackbits(self.data[f"img{image}/gt_masks_packed"])[: np.prod(shape)]
        masks = torch.from_numpy(bits.reshape(shape)).bool()
        chosen = {
            "all": labels >= 0,
            "nothing": labels >= 80,
            "nostuff": labels < 80,
            "empty": labels < 0,
        }[keep]
        instances = Instances((height, width))
        instances.gt_classes = labels[chosen]
        instances.gt_boxes = Boxes(boxes[chosen])
        instances.gt_masks = BitMasks(masks[chosen])
        return {
            "image": pixels if padded else pixels[:, :height, :width],
            "instances": instances,
            "height": ori_height,
            "width": ori_width,
        }

    def official_map(self, id_map: torch.Tensor, segments_info: list[dict]) -> torch.Tensor:
        """Our panoptic result as the official one: (H, W, 2) COCO id, instance number of things."""
        official = torch.zeros((*id_map.shape, 2), dtype=torch.int16)
        things = 0
        for segment in segments_info:
            things += segment["isthing"]
            category = self.data["cat_ids"][segment["category_id"]]
            instance = things if segment["isthing"] else 0
            official[id_map == segment["id"]] = torch.tensor([category, instance]).short()
        return official


@pytest.fixture(scope="session")
def golden_inputs(reference) -> GoldenInputs:
    return GoldenInputs(reference)

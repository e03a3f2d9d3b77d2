"""A trained model that predicts."""

import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from ..checkpoint import read_checkpoint
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.data import transforms as T
from ..data import augment, build_augmentation, register_from_config
from ..data.class_metadata import (
    class_metadata,
    has_classes,
    is_class_metadata,
    restore_class_metadata,
    set_classes,
)
from ..modeling.backbone import fuse_batch_norms
from ..utils.errors import UserError, near_names
from .autocast import LEAST_SIDES, fast_type
from .checkpoint_files import check_exists
from .checkpointer import AtomicCheckpointer
from .data_sets import model_data_set
from .model import build_model

logger = logging.getLogger(__name__)


class Predictor:
    """The model of a config with the weights of MODEL.WEIGHTS; needs no file of a data set.

    The classes are those of DATASETS.TRAIN[0]. Where that name is unknown here, they come from the
    checkpoint, or else from DATASETS.REGISTER. With MODEL.AUTOCAST "auto" the model runs in
    bfloat16 where the device is fast with it, and in float32 for small images on a CPU.

    Attributes:
        metadata: names, colours and ids of the classes.

    Raises:
        UserError: there are no weights, they do not fit, or the classes are not known.
    """

    def __init__(self, cfg: CfgNode):
        cfg = cfg.clone()
        cfg.defrost()
        if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
            cfg.MODEL.DEVICE = "cpu"
        if not cfg.MODEL.WEIGHTS:
            raise UserError("MODEL.WEIGHTS is empty: set it to the checkpoint of a trained model.")
        check_exists(cfg.MODEL.WEIGHTS)
        name = model_data_set(cfg)
        if not has_classes(name):
            _find_classes(cfg, name)
        self.image_format = cfg.INPUT.FORMAT
        self.augmentations = T.AugmentationList(build_augmentation(cfg, is_train=False))
        self.model = build_model(cfg).eval()
        checkpointer = AtomicCheckpointer(self.model, metadata=class_metadata(name))
        checkpointer.load(cfg.MODEL.WEIGHTS)
        fuse_batch_norms(self.model)
        self.autocast, self.least_side = nullcontext(), 0
        if cfg.MODEL.AUTOCAST == "auto":
            device = torch.device(cfg.MODEL.DEVICE)
            dtype = fast_type(device)
            self.least_side = LEAST_SIDES.get(device.type, 0)
            self.autocast = torch.autocast(device.type, dtype, enabled=dtype is not None)
            logger.info("MODEL.AUTOCAST 'auto': predicting in %s.", dtype or torch.float32)
        set_classes(name, checkpointer.metadata)
        self.metadata = MetadataCatalog.get(name)

    def __call__(self, image: np.ndarray) -> dict:
        """
        Args:
            image: uint8 (H, W, 3), RGB whatever INPUT.FORMAT is.

        Returns:
            The model's results for this image, at its size.

        Raises:
            UserError: the image is of another type or shape.
        """
        return self.predict_batch([image])[0]

    @torch.inference_mode()
    def predict_batch(self, images: Sequence[np.ndarray]) -> list[dict]:
        """Results of images that go through the model together; their sizes may differ."""
        samples = [self._sample(image) for image in images]
        sides = (side for sample in samples for side in sample["image"].shape[-2:])
        with self.autocast if min(sides, default=0) >= self.least_side else nullcontext():
            return self.model(samples)

    def _sample(self, image: np.ndarray) -> dict:
        _check_image(image)
        height, width = image.shape[:2]
        resized = T.AugInput(image if self.image_format == "RGB" else image[:, :, ::-1])
        sample, _ = augment(self.augmentations, resized)
        return {**sample, "height": height, "width": width}


def return_one_result(cfg: CfgNode) -> None:
    """Leave one result on: "panoptic_seg" where that is on, else "instances", else "sem_seg"."""
    node = cfg.MODEL.POSTPROCESSING
    keys = "PANOPTIC_ON", "INSTANCE_ON", "SEMANTIC_ON"
    chosen = next((key for key in keys if node[key]), keys[0])
    for key in keys:
        node[key] = key == chosen


def _check_image(image: np.ndarray) -> None:
    shape, dtype = tuple(np.shape(image)), getattr(image, "dtype", type(image).__name__)
    is_rgb = len(shape) == 3 and shape[2] == 3 and 0 not in shape
    if not (isinstance(image, np.ndarray) and dtype == np.uint8 and is_rgb):
        raise UserError(
            f"The image is {dtype} of shape {shape}: pass a NumPy array of uint8 (H, W, 3) with "
            "values 0...255 (the model of d2_psformer.load takes paths and images of any kind)."
        )


def _find_classes(cfg: CfgNode, name: str) -> None:
    """Put the classes of the unknown data set ``name`` into the catalog."""
    path = cfg.MODEL.WEIGHTS
    # Pickles and addresses are weights of other code, which has no such entry.
    if os.path.isfile(path) and not path.endswith(".pkl"):
        metadata = read_checkpoint(path).get("metadata")
        if is_class_metadata(metadata):
            restore_class_metadata({**metadata, "name": name})
            return
    register_from_config(cfg)
    if not has_classes(name):
        raise UserError(
            f"Data set '{name}' of DATASETS.TRAIN is not registered and '{path}' does not list "
            "its classes: name its files in DATASETS.REGISTER, or use one of "
            f"{near_names(name, DatasetCatalog.list())}."
        )

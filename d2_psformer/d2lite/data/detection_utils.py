"""Reading images, and moving annotations along with them."""

import contextlib
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from PIL import Image, ImageOps

from ..errors import UserError
from ..structures import BitMasks, Boxes, BoxMode, Instances, polygons_to_bitmask
from ..utils.file_io import PathManager
from . import transforms as T


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """Read an image, turned upright by its EXIF tag.

    Args:
        format: "BGR" or a mode of Pillow such as "RGB" or "L"; None leaves the file's own.

    Returns:
        uint8 array (H,W,C), with C = 1 for "L"; with None the values as the file holds them.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file is no image, or a broken one (Pillow's message).
    """
    with PathManager.open(file_name, "rb") as file:
        image = Image.open(file)
        image.load()
        with contextlib.suppress(Exception):  # A good image may have a broken EXIF block.
            image = ImageOps.exif_transpose(image)
    if format is None:
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGB" if format == "BGR" else format))
    if format == "BGR":
        return pixels[:, :, ::-1]
    return pixels[:, :, None] if format == "L" else pixels


def transform_instance_annotations(
    annotation: dict[str, Any], transforms: T.Transform | list, image_size: tuple[int, int]
) -> dict[str, Any]:
    """Move box and segmentation of one object along with its image, in place.

    Args:
        transforms: those that were applied to the image.
        image_size: (height, width) of the transformed image; the box is clipped to it.

    Returns:
        The same dict: ``bbox`` in XYXY_ABS; polygons stay polygons, an RLE becomes a uint8 mask.
    """
    if isinstance(transforms, (tuple, list)):
        transforms = T.TransformList(transforms)
    box = BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)
    height, width = image_size
    moved = transforms.apply_box(np.array([box]))[0]
    annotation["bbox"] = np.clip(moved, 0, [width, height, width, height])
    annotation["bbox_mode"] = BoxMode.XYXY_ABS
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        # Polygons are not cut at the image's border (shapely could): the masks of them are.
        corners = [np.array(polygon, dtype=float).reshape(-1, 2) for polygon in segmentation]
        moved = [transforms.apply_coords(polygon).reshape(-1) for polygon in corners]
        annotation["segmentation"] = moved
    elif segmentation is not None:
        mask = mask_util.decode(segmentation)
        annotation["segmentation"] = transforms.apply_segmentation(mask)
    return annotation


def annotations_to_instances(
    annos: list[dict[str, Any]], image_size: tuple[int, int], mask_format: str = "bitmask"
) -> Instances:
    """Objects of one image as a model takes them.

    Args:
        annos: transformed annotations.
        image_size: (height, width).
        mask_format: only "bitmask"; there is no PolygonMasks here, so polygons are filled.

    Returns:
        Instances with ``gt_boxes``, ``gt_classes`` int64 and, if there are segmentations,
        ``gt_masks`` BitMasks.

    Raises:
        UserError: another mask format.
    """
    boxes = [BoxMode.convert(obj["bbox"], obj["bbox_mode"], BoxMode.XYXY_ABS) for obj in annos]
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(np.stack(boxes) if boxes else np.zeros((0, 4)))
    instances.gt_classes = torch.tensor([int(obj["category_id"]) for obj in annos]).long()
    if annos and "segmentation" in annos[0]:
        if mask_format != "bitmask":
            raise UserError(
                f"INPUT.MASK_FORMAT is '{mask_format}': without Detectron2 set it to bitmask."
            )
        masks = [_to_bitmask(obj["segmentation"], image_size) for obj in annos]
        instances.gt_masks = BitMasks(np.stack(masks))
    return instances


def _to_bitmask(segmentation: list | dict | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_to_bitmask(segmentation, *image_size)
    return mask_util.decode(segmentation) if isinstance(segmentation, dict) else segmentation


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
) -> Instances:
    """Drop objects whose box is thinner than ``box_threshold`` pixels or whose mask is empty."""
    keep = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        keep &= instances.gt_boxes.nonempty(threshold=box_threshold)
    if by_mask and instances.has("gt_masks"):
        keep &= instances.gt_masks.nonempty()
    return instances[keep]

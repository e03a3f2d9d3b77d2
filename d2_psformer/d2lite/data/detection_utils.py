"""Reading images, and moving annotations along with them."""

import contextlib
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from PIL import Image

from ..structures import BitMasks, Boxes, BoxMode, Instances, polygons_to_bitmask
from ..utils.file_io import PathManager
from . import transforms as T
from .catalog import MetadataCatalog

_EXIF_ORIENTATION = 274
# How to turn the stored pixels upright, by the value of the EXIF tag (1 is upright).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class SizeMismatchError(ValueError):
    """An image is of another size than its annotation says."""


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """Read an image, upright as its EXIF tag wants it.

    Args:
        format: "BGR" or a mode of Pillow such as "RGB" or "L"; None leaves the file's own.

    Returns:
        uint8 array (H,W,C), with C = 1 for "L"; with None whatever the file holds.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file is no image, or a broken one (Pillow's message).
    """
    with PathManager.open(file_name, "rb") as file:
        return convert_PIL_to_numpy(_upright(Image.open(file)), format)


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # which turns a TIFF, and takes its tag away
    orientation = None
    # A broken EXIF block is no reason to give up on a good image.
    with contextlib.suppress(SyntaxError, ValueError, KeyError, TypeError, OSError):
        orientation = image.getexif().get(_EXIF_ORIENTATION)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def convert_PIL_to_numpy(image: Image.Image, format: str | None) -> np.ndarray:  # noqa: N802
    """See :func:`read_image`."""
    if format is None:
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGB" if format == "BGR" else format))
    if format == "BGR":
        return pixels[:, :, ::-1]
    return pixels[:, :, None] if format == "L" else pixels


def check_image_size(dataset_dict: dict[str, Any], image: np.ndarray) -> None:
    """Require the image to be of the annotation's ``width`` and ``height``; fill them in if absent.

    Raises:
        SizeMismatchError: naming the file and both sizes.
    """
    height, width = image.shape[:2]
    expected = dataset_dict.get("width", width), dataset_dict.get("height", height)
    if expected != (width, height):
        raise SizeMismatchError(
            f"Image '{dataset_dict.get('file_name', '?')}' has {width}x{height} pixels, but its "
            f"annotation says {expected[0]}x{expected[1]}: correct one of them."
        )
    dataset_dict.update(width=width, height=height)


def transform_instance_annotations(
    annotation: dict[str, Any], transforms: T.Transform | list, image_size: tuple[int, int]
) -> dict[str, Any]:
    """Move box and segmentation of one object along with its image, in place.

    Args:
        transforms: what was done to the image.
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
    if "segmentation" in annotation:
        annotation["segmentation"] = _transform_segmentation(
            annotation["segmentation"], transforms, image_size
        )
    return annotation


def _transform_segmentation(segmentation: list | dict, transforms, image_size: tuple[int, int]):
    if isinstance(segmentation, list):
        # Polygons are not cut at the image's border (that would need shapely): masks are, later.
        corners = [np.array(polygon, dtype=float).reshape(-1, 2) for polygon in segmentation]
        return [transforms.apply_coords(polygon).reshape(-1) for polygon in corners]
    if not isinstance(segmentation, dict):
        raise ValueError(
            f"A segmentation is a list of polygons or an RLE dict, not a "
            f"{type(segmentation).__name__}."
        )
    mask = transforms.apply_segmentation(mask_util.decode(segmentation))
    assert mask.shape[:2] == tuple(image_size), (
        f"A mask has shape {mask.shape[:2]} after the transforms, its image {tuple(image_size)}."
    )
    return mask


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
    """
    boxes = [BoxMode.convert(obj["bbox"], obj["bbox_mode"], BoxMode.XYXY_ABS) for obj in annos]
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(np.stack(boxes) if boxes else np.zeros((0, 4)))
    instances.gt_classes = torch.tensor([int(obj["category_id"]) for obj in annos]).long()
    if annos and "segmentation" in annos[0]:
        if mask_format != "bitmask":
            raise ValueError(
                f"Mask format '{mask_format}' is unknown: without Detectron2 set "
                "INPUT.MASK_FORMAT to 'bitmask'."
            )
        masks = [_to_bitmask(obj["segmentation"], image_size) for obj in annos]
        instances.gt_masks = BitMasks(torch.from_numpy(np.stack(masks)))
    return instances


def _to_bitmask(segmentation: list | dict | np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_to_bitmask(segmentation, *image_size)
    mask = mask_util.decode(segmentation) if isinstance(segmentation, dict) else segmentation
    assert mask.ndim == 2, f"A mask has two dimensions, not {mask.ndim}."
    return mask.astype(bool)


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
    return_mask: bool = False,
) -> Instances | tuple[Instances, torch.Tensor]:
    """Drop objects whose box is thinner than ``box_threshold`` pixels or whose mask is empty.

    With ``return_mask`` a bool tensor that is true for what stays comes along.
    """
    assert by_box or by_mask, "Filter by boxes, by masks, or by both."
    keep = torch.ones(len(instances), dtype=torch.bool)
    if by_box:
        keep = instances.gt_boxes.nonempty(threshold=box_threshold)
    if by_mask and instances.has("gt_masks"):
        keep = keep & instances.gt_masks.nonempty()
    return (instances[keep], keep) if return_mask else instances[keep]


def check_metadata_consistency(key: str, dataset_names: list[str]) -> None:
    """Require one value of ``key`` in all data sets. Raises ValueError naming two that differ."""
    for name in dataset_names[1:]:
        first, other = (getattr(MetadataCatalog.get(n), key) for n in (dataset_names[0], name))
        if first != other:
            raise ValueError(
                f"Data sets '{dataset_names[0]}' and '{name}' have different '{key}': "
                f"{first} and {other}; they cannot be used together."
            )


def build_augmentation(cfg, is_train: bool) -> list[T.Augmentation]:
    """Resize and, in training, flip, as the config's INPUT says."""
    if not is_train:
        return [T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")]
    resize = T.ResizeShortestEdge(
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
    )
    if cfg.INPUT.RANDOM_FLIP == "none":
        return [resize]
    direction = cfg.INPUT.RANDOM_FLIP
    flip = T.RandomFlip(horizontal=direction == "horizontal", vertical=direction == "vertical")
    return [resize, flip]

"""From a record to a training sample as Detectron2's panoptic projects do it: the peer.

The PNG is moved as a picture of three channels, every segment is looked for in all of it, and
boxes are looked for in every mask.
"""

import numpy as np
import torch

from d2_psformer.d2.data import detection_utils
from d2_psformer.d2.data import transforms as T
from d2_psformer.d2.structures import BitMasks, Instances
from d2_psformer.data import PanopticMapper


class PlainMapper:
    """Gives what :class:`PanopticMapper` gives, with the same augmentations."""

    def __init__(self, ours: PanopticMapper):
        self.augmentations, self.image_format = ours.augmentations, ours.image_format

    def __call__(self, record: dict) -> dict:
        sample = dict(record)
        image = self.read_image(record)
        sample["height"], sample["width"] = image.shape[:2]
        picture = self.read_png(record)
        augmented = T.AugInput(image)
        transforms = self.augmentations(augmented)
        sample["image"] = torch.as_tensor(np.ascontiguousarray(augmented.image.transpose(2, 0, 1)))
        sample["instances"] = self.cut_masks(transforms, picture, record["segments_info"])
        return sample

    def read_image(self, record: dict) -> np.ndarray:
        image = detection_utils.read_image(record["file_name"], format=self.image_format)
        detection_utils.check_image_size(dict(record), image)
        return image

    def read_png(self, record: dict) -> np.ndarray:
        return detection_utils.read_image(record["pan_seg_file_name"], "RGB")

    def cut_masks(self, transforms, picture: np.ndarray, segments: list[dict]) -> Instances:
        """Of the segments that are no crowd and have a pixel left."""
        channels = transforms.apply_segmentation(picture).astype(np.int32)
        ids = channels[..., 0] + 256 * channels[..., 1] + 256 * 256 * channels[..., 2]
        classes, masks = [], []
        for segment in segments:
            mask = ids == segment["id"]
            if not segment["iscrowd"] and mask.any():
                classes.append(segment["category_id"])
                masks.append(torch.from_numpy(mask))
        instances = Instances(ids.shape)
        instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
        instances.gt_masks = BitMasks(torch.stack(masks) if masks else torch.zeros(0, *ids.shape))
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        return instances

"""An augmentation looks at its input, decides (often by chance) on a transform, and applies it."""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = ["AugInput", "Augmentation", "AugmentationList"]


class AugInput:
    """The input of augmentations: an image, and boxes and classes if there are any.

    Args:
        image: uint8 or float array (H,W) or (H,W,C).
        boxes: float array (N,4), absolute XYXY.
        sem_seg: uint8 array (H,W) of class ids.
    """

    def __init__(
        self,
        image: np.ndarray,
        *,
        boxes: np.ndarray | None = None,
        sem_seg: np.ndarray | None = None,
    ):
        assert image.ndim in (2, 3), f"An image has shape (H,W) or (H,W,C), not {image.shape}."
        assert image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating), (
            f"An image is of uint8 or floats, not {image.dtype}."
        )
        self.image = image
        self.boxes = boxes
        self.sem_seg = sem_seg

    def transform(self, tfm: Transform) -> None:
        """Transform everything, in place."""
        self.image = tfm.apply_image(self.image)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)
        if self.sem_seg is not None:
            self.sem_seg = tfm.apply_segmentation(self.sem_seg)


class Augmentation:
    """Base class: override :meth:`get_transform`, whose argument names say what it looks at.

    They are attributes of the input, such as ``image`` and ``sem_seg``; a single argument is the
    image whatever its name. ``input_args`` may name them instead.
    """

    input_args: tuple[str, ...] | None = None

    def get_transform(self, *args: Any) -> Transform:
        raise NotImplementedError

    def __call__(self, aug_input: AugInput) -> Transform:
        """Transform ``aug_input`` in place; returns the transform, to be used on other data."""
        tfm = self.get_transform(*self._arguments(aug_input))
        assert isinstance(tfm, Transform), (
            f"{type(self).__name__}.get_transform returned {type(tfm).__name__}, not a Transform."
        )
        aug_input.transform(tfm)
        return tfm

    def _arguments(self, aug_input: AugInput) -> list[Any]:
        if self.input_args is None:
            names = tuple(inspect.signature(self.get_transform).parameters)
            self.input_args = ("image",) if len(names) == 1 else names
        return [getattr(aug_input, name) for name in self.input_args]

    def _init(self, params: dict[str, Any]) -> None:
        """Keep the arguments of a constructor: ``self._init(locals())``."""
        for name, value in params.items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters
        given = [
            f"{name}={getattr(self, name)!r}"
            for name, parameter in parameters.items()
            if getattr(self, name, parameter.default) is not parameter.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"


class _FixedAugmentation(Augmentation):
    """Always the same transform."""

    def __init__(self, tfm: Transform):
        self.tfm = tfm

    def get_transform(self, *args: Any) -> Transform:
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)


def as_augmentation(tfm_or_aug: Augmentation | Transform) -> Augmentation:
    """The augmentation itself, or one that always applies the given transform."""
    return tfm_or_aug if isinstance(tfm_or_aug, Augmentation) else _FixedAugmentation(tfm_or_aug)


class AugmentationList(Augmentation):
    """One augmentation after the other; each looks at the result of the one before."""

    def __init__(self, augs: Iterable[Augmentation | Transform]):
        self.augs = [as_augmentation(aug) for aug in augs]

    def __call__(self, aug_input: AugInput) -> TransformList:
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(repr, self.augs))}]"

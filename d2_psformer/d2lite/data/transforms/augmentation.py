"""An augmentation looks at its input, decides (often by chance) on a transform, and applies it."""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform, TransformList

__all__ = ["AugInput", "Augmentation", "AugmentationList", "apply_augmentations"]


class AugInput:
    """What augmentations look at and transform: an image, and boxes and classes if there are any.

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

    def apply_augmentations(
        self, augmentations: Iterable["Augmentation | Transform"]
    ) -> TransformList:
        return AugmentationList(augmentations)(self)


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
        for name in self.input_args:
            if not hasattr(aug_input, name):
                raise AttributeError(
                    f"{type(self).__name__} needs '{name}', "
                    f"which {type(aug_input).__name__} does not have."
                )
        return [getattr(aug_input, name) for name in self.input_args]

    def _init(self, params: dict[str, Any]) -> None:
        """Keep the arguments of a constructor: ``self._init(locals())``."""
        for name, value in params.items():
            if name != "self" and not name.startswith("_"):
                setattr(self, name, value)

    def _rand_range(self, low: float = 1.0, high: float | None = None, size=None) -> float:
        """Uniform in [low, high), or in [0, low) if only that is given."""
        if high is None:
            low, high = 0.0, low
        return np.random.uniform(low, high, size)

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters
        given = [
            f"{name}={getattr(self, name)!r}"
            for name, parameter in parameters.items()
            if getattr(self, name, parameter.default) is not parameter.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"


class FixedAugmentation(Augmentation):
    """Always the same transform."""

    def __init__(self, tfm: Transform):
        self.tfm = tfm

    def get_transform(self, *args: Any) -> Transform:
        return self.tfm

    def __repr__(self) -> str:
        return repr(self.tfm)


def as_augmentation(tfm_or_aug: "Augmentation | Transform") -> Augmentation:
    assert isinstance(tfm_or_aug, (Augmentation, Transform)), (
        f"{type(tfm_or_aug).__name__} is neither an Augmentation nor a Transform."
    )
    return tfm_or_aug if isinstance(tfm_or_aug, Augmentation) else FixedAugmentation(tfm_or_aug)


class AugmentationList(Augmentation):
    """One augmentation after the other; each looks at what the one before has made."""

    def __init__(self, augs: Iterable[Augmentation | Transform]):
        self.augs = [as_augmentation(aug) for aug in augs]

    def __call__(self, aug_input: AugInput) -> TransformList:
        return TransformList([aug(aug_input) for aug in self.augs])

    def __repr__(self) -> str:
        return f"AugmentationList[{', '.join(map(repr, self.augs))}]"


def apply_augmentations(
    augmentations: Iterable[Augmentation | Transform], inputs: AugInput | np.ndarray
) -> tuple[AugInput | np.ndarray, TransformList]:
    """Augment an :class:`AugInput` or a bare image; returns the result and what was done."""
    if not isinstance(inputs, np.ndarray):
        return inputs, inputs.apply_augmentations(augmentations)
    wrapped = AugInput(inputs)
    transforms = wrapped.apply_augmentations(augmentations)
    return wrapped.image, transforms

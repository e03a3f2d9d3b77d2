"""What all architectures share: from Detectron2's dicts to losses or results."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ...classes import Classes
from ...d2.data import MetadataCatalog
from ...d2.modeling import Backbone
from ...utils.checks import check_at_least, check_choice
from ...utils.errors import UserError
from ..backbone import build_checked_backbone
from ..criterion import Targets, prepare_targets
from ..outputs import SegmenterOutputs
from ..postprocessing import Placement, Postprocessor, build_postprocessor
from .finite import check_finite_images, check_finite_outputs
from .preprocessing import ImageBatch, ImageNormalizer
from .windows import check_windows, infer_in_windows

_CHECKPOINTING = ("backbone", "pixel_decoder", "transformer_decoder")


class Segmenter(nn.Module, ABC):
    """Preprocess -> ``predict`` -> losses in training, postprocessing else.

    An architecture gives its parts in ``from_config`` and defines :meth:`predict`. It sets
    ``self.criterion``, or defines :meth:`losses` too.
    """

    def __init__(
        self,
        *,
        normalizer: ImageNormalizer,
        backbone: Backbone,
        postprocessor: Postprocessor,
        classes: Classes,
        mask_stride: int,
        aligned_corners: bool = False,
        autocast: torch.dtype | None = None,
        window: int = 0,
    ):
        """
        Args:
            mask_stride: pixels of the input a cell of the predicted masks, along each side.
            aligned_corners: see :class:`.Placement`.
            autocast: half-precision type for inference; None for float32.
            window: side of the windows of semantic inference, pixels; 0: there are none.
        """
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.postprocessor = postprocessor
        self.classes = classes
        self.mask_stride = mask_stride
        self.aligned_corners = aligned_corners
        self.autocast = autocast
        self.window = window

    @abstractmethod
    def predict(self, images: Tensor, padding: Tensor | None = None) -> SegmenterOutputs:
        """Outputs whose shapes depend on the shape of the input alone.

        This is what torch.compile, torch.export and ONNX take.

        Args:
            images: (B, 3, H, W) normalised.
            padding: (B, H, W) bool, True = padding; None where images fill the canvas.
        """

    def class_rows(self, classes: Classes) -> dict[str, Sequence[int]]:
        """The parameters with one row a class, for fine-tuning on other classes.

        Args:
            classes: of a model like this one; those of a checkpoint differ from its own.

        Returns:
            Beginnings of names, whole modules, and the contiguous class id of every row there;
            ``NO_OBJECT`` for the row of "no object" or void.
        """
        return {}

    def losses(self, images: ImageBatch, targets: list[Targets]) -> dict[str, Tensor]:
        """Weighted losses by name, scalars.

        By default those that ``self.criterion`` computes from the only set of queries that
        :meth:`predict` returns, or from the pixel logits.
        """
        outputs = self.predict(images.tensor, images.padding)
        (predicted,) = outputs.queries.values() or [outputs.pixel_logits]
        return self.criterion(predicted, targets)

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """
        Args:
            batched_inputs: Detectron2's dicts: ``image`` (3, H, W); in training ``instances`` with
                gt_classes, gt_boxes, gt_masks of all segments, and optionally ``sem_seg`` (H, W),
                the class of every pixel or 255, and ``padding_mask`` (H, W) bool, True = padding
                that the mapper has added at the right and the bottom; for inference ``height`` and
                ``width`` of the output (default: the image's).

        Returns:
            In training the weighted losses by name. Else for each image a dict with, as switched
            on, ``panoptic_seg``, ``sem_seg`` (K, H, W), ``instances``.

        Raises:
            NotFiniteError: an image holds NaN or infinity, or what the model predicts does.
            UserError: training with weights of half precision.
        """
        check_finite_images(batched_inputs)
        if self.training:
            self._check_trainable()
            images = self._normalized(batched_inputs)
            return self.losses(images, self.targets(batched_inputs, images))
        if self.window:
            return infer_in_windows(self._infer, batched_inputs, self.window)
        return self._infer(batched_inputs)

    def _infer(self, batched_inputs: list[dict]) -> list[dict]:
        images = self._normalized(batched_inputs)
        with self._autocast():
            outputs = self.predict(images.tensor, images.padding)
        return self.postprocess(outputs, images, batched_inputs)

    def _normalized(self, batched_inputs: list[dict]) -> ImageBatch:
        images = [x["image"] for x in batched_inputs]
        return self.normalizer(images, [x.get("padding_mask") for x in batched_inputs])

    def _autocast(self) -> AbstractContextManager:
        """Autocast to the type asked for, or to that of the weights after ``model.half()``."""
        dtype = self.normalizer.mean.dtype if self._is_half() else self.autocast
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()

    def _is_half(self) -> bool:
        return self.normalizer.mean.dtype in (torch.bfloat16, torch.float16)

    def _check_trainable(self) -> None:
        if self._is_half():
            raise UserError(
                f"The weights are {self.normalizer.mean.dtype}, in which training loses small "
                "steps: call model.float(), and set SOLVER.AMP to compute in half precision."
            )

    def targets(self, batched_inputs: list[dict], images: ImageBatch) -> list[Targets]:
        """Ground truth of every image on the canvas of the batch."""
        canvas = tuple(images.tensor.shape[-2:])
        ids = self.classes.thing_ids, self.classes.stuff_ids
        targets = []
        for inputs, size in zip(batched_inputs, images.sizes, strict=True):
            sem_seg = inputs.get("sem_seg")
            sem_seg = None if sem_seg is None else sem_seg.to(self.device)
            instances = inputs["instances"].to(self.device)
            targets.append(
                prepare_targets(instances, *ids, canvas, image_size=size, sem_seg=sem_seg)
            )
        return targets

    def postprocess(
        self, outputs: SegmenterOutputs, images: ImageBatch, batched_inputs: list[dict]
    ) -> list[dict]:
        """Results of every image, in its ``height`` and ``width`` (default: those it has).

        Raises:
            NotFiniteError: class scores or masks are NaN or infinite.
        """
        check_finite_outputs(outputs, batched_inputs)
        canvas = tuple(images.tensor.shape[-2:])
        results = []
        for image, (size, inputs) in enumerate(zip(images.sizes, batched_inputs, strict=True)):
            output = inputs.get("height", size[0]), inputs.get("width", size[1])
            placement = Placement(canvas, size, output, self.mask_stride, self.aligned_corners)
            results.append(self.postprocessor(outputs, image, placement))
        return results

    def compile_parts(self) -> None:
        """Run backbone and decoders through torch.compile, which happens at their first call."""
        for part in self.children():
            if part is not self.normalizer:
                part.compile(fullgraph=True)

    @property
    def device(self) -> torch.device:
        return self.normalizer.mean.device


def shared_parts(cfg, checkpointing: tuple[str, ...] = _CHECKPOINTING) -> dict:
    """The arguments of :class:`Segmenter` that a config gives to every architecture.

    ``mask_stride`` is missing, as it depends on the architecture. A backbone with the attribute
    ``aligned_corners`` (True) reads images whose sides are one more than a multiple.

    Args:
        checkpointing: the parts that MODEL.CHECKPOINTING can name.
    """
    classes = Classes.from_metadata(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    with config_node("MODEL.BACKBONE", heads="MODEL.TRANSFORMER_DECODER"):
        backbone = build_checked_backbone(cfg)
    with config_node("MODEL.POSTPROCESSING", max_instances="TEST.DETECTIONS_PER_IMAGE"):
        check_windows(cfg)
        postprocessor = build_postprocessor(cfg, classes)
    multiples = cfg.MODEL.SIZE_DIVISIBILITY, backbone.size_divisibility
    check_at_least(0, **{"MODEL.SIZE_DIVISIBILITY": multiples[0]})
    multiple = math.lcm(*(max(x, 1) for x in multiples))
    aligned_corners = getattr(backbone, "aligned_corners", False)
    normalizer = ImageNormalizer(
        cfg.MODEL.PIXEL_MEAN,
        cfg.MODEL.PIXEL_STD,
        multiple,
        int(aligned_corners),
        cfg.MODEL.PADDING_VALUE,
    )
    types = {"auto": None, "float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    check_choice(tuple(types), **{"MODEL.AUTOCAST": cfg.MODEL.AUTOCAST})
    for part in cfg.MODEL.CHECKPOINTING:
        check_choice(checkpointing, **{"MODEL.CHECKPOINTING": part})
    return {
        "normalizer": normalizer,
        "backbone": backbone,
        "postprocessor": postprocessor,
        "classes": classes,
        "aligned_corners": aligned_corners,
        "autocast": types[cfg.MODEL.AUTOCAST],
        "window": cfg.MODEL.POSTPROCESSING.WINDOW,
    }


@contextmanager
def config_node(name: str, **elsewhere: str) -> Iterator[None]:
    """Put the name of a config node before the sentence of a UserError.

    Args:
        elsewhere: the nodes of those arguments that stand in another one.
    """
    try:
        yield
    except UserError as error:
        if name in str(error) or str(error).startswith("MODEL."):
            raise
        node = elsewhere.get(str(error).split()[0], name)
        raise UserError(f"{node}: {error}") from error

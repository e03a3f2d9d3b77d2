"""A trained model that segments images."""

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any, overload

import torch
from tqdm import tqdm

from ..checkpoint import read_checkpoint
from ..classes import Classes
from ..d2.config import CfgNode
from ..data.class_metadata import is_class_metadata
from ..engine import Predictor
from ..utils.checks import check_at_least
from ..utils.errors import UserError
from ..utils.wording import counted
from .configs import Options, StrPath
from .evaluation import evaluate_config
from .images import ImageLike
from .inputs import Images, NamedImage, Several, Source
from .result import PanopticResult

logger = logging.getLogger(__name__)
_NUMBERS = itertools.count()


class Model:
    """A trained model, as :func:`.load` and :func:`.train` return it.

    Attributes:
        cfg: the config, with the checkpoint as MODEL.WEIGHTS.
        classes: names, colours and ids of the classes, see :class:`.Classes`.
        results: of the last evaluation, {task: {metric: value}}; empty before the first.
    """

    cfg: CfgNode
    classes: Classes
    results: dict[str, Any]

    def __init__(self, cfg: CfgNode, results: Mapping[str, Any] | None = None):
        self.cfg = cfg
        self._predictor = Predictor(_with_own_classes(cfg))
        self.classes = Classes.from_metadata(self._predictor.metadata)
        self.results = dict(results or {})

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return torch.device(str(self._predictor.model.device))

    @overload
    def predict(
        self, source: ImageLike, *, batch_size: int = 1, progress: bool | None = None
    ) -> PanopticResult: ...

    @overload
    def predict(
        self, source: StrPath, *, batch_size: int = 1, progress: bool | None = None
    ) -> PanopticResult | Any: ...  # an iterator of a folder, a pattern or a video

    @overload
    def predict(
        self, source: Several, *, batch_size: int = 1, progress: bool | None = None
    ) -> list[PanopticResult]: ...

    @overload
    def predict(
        self, source: Iterator[Source], *, batch_size: int = 1, progress: bool | None = None
    ) -> Iterator[PanopticResult]: ...

    def predict(
        self,
        source: Source | Several | Iterator[Source],
        *,
        batch_size: int = 1,
        progress: bool | None = None,
    ) -> PanopticResult | list[PanopticResult] | Iterator[PanopticResult]:
        """Segment an image, several images, or a video.

        Args:
            source: an image as a path, Pillow image, array or tensor, see :func:`.to_rgb`; a list
                or a batch (N, ...) of them; a folder, a pattern like "cats/*.jpg", a video; or an
                iterator. Files are turned upright as their EXIF tag says.
            batch_size: images that go through the model together; they are padded to one canvas.
            progress: show a bar for more than one image; None: in a terminal.

        Returns:
            One result for one image, a list for a list, and an iterator, which works as it is
            read, for a folder, a pattern, a video and an iterator.

        Raises:
            UserError: an image cannot be read or is of another kind; the message names it. An
                iterator does so at its end, after the results of all other images.
        """
        images = Images(source)
        is_finite = images.is_one or images.is_list
        results = self._results(images, batch_size, progress, at_once=is_finite)
        if images.is_one:
            return next(results)
        return list(results) if images.is_list else results

    def stream(
        self,
        source: Source | Several | Iterator[Source],
        *,
        batch_size: int = 1,
        progress: bool | None = None,
    ) -> Iterator[PanopticResult]:
        """The results of :meth:`predict` as an iterator, whatever the source is."""
        return self._results(Images(source), batch_size, progress, at_once=False)

    def _results(
        self, images: Images, batch_size: int, progress: bool | None, *, at_once: bool
    ) -> Iterator[PanopticResult]:
        """
        Args:
            at_once: raise the first error of an image when it comes, not at the end.
        """
        check_at_least(1, batch_size=batch_size)
        is_hidden = images.is_one or (None if progress is None else not progress)
        bar = tqdm(total=images.count, desc="predict", unit="image", disable=is_hidden)
        errors: list[UserError] = []
        every = _without_errors(images, errors, at_once)
        with bar:
            while batch := list(itertools.islice(every, batch_size)):
                outputs = self._predictor.predict_batch([image.pixels for image in batch])
                metadata = self._predictor.metadata
                for image, output in zip(batch, outputs, strict=True):
                    yield PanopticResult(
                        image.pixels, output, metadata, name=image.name, source=image.source
                    )
                bar.update(len(batch))
        if errors:
            raise errors[0] if len(errors) == 1 else _summary(errors)

    def evaluate(
        self,
        data: StrPath | None = None,
        *,
        output: StrPath = "output",
        options: Options = None,
    ) -> dict[str, Any]:
        """Evaluate the model, see :func:`d2_psformer.evaluate`; the figures become ``results``."""
        self.results = evaluate_config(self.cfg, data, output, options)
        return self.results

    def __repr__(self) -> str:
        classes = counted(self.classes.num_classes, "class")
        model = f"<Model {self.cfg.MODEL.META_ARCHITECTURE} of {classes}"
        return f"{model} on {self.device}, weights '{self.cfg.MODEL.WEIGHTS}'>"


def _without_errors(images: Images, errors: list[UserError], at_once: bool) -> Iterator[NamedImage]:
    """The images; errors are raised, or logged and put into the list."""
    for image in images:
        if isinstance(image, NamedImage):
            yield image
            continue
        if at_once:
            raise image
        logger.warning("Left out: %s", image)
        errors.append(image)


def _summary(errors: list[UserError]) -> UserError:
    return UserError(f"{len(errors)} images were left out, see the log; the first: {errors[0]}")


def _with_own_classes(cfg: CfgNode) -> CfgNode:
    """The config with a data-set name of the model's own, if the checkpoint lists its classes.

    Several models of one process may know other classes under one name of a data set.
    """
    cfg = cfg.clone()
    cfg.defrost()
    path = cfg.MODEL.WEIGHTS
    if os.path.isfile(path) and is_class_metadata(read_checkpoint(path).get("metadata")):
        cfg.DATASETS.TRAIN = (f"classes of model {next(_NUMBERS)}",)
    return cfg

"""A trained model that segments images."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import torch
from tqdm import tqdm

from ..checkpoint import read_checkpoint
from ..classes import Classes
from ..d2.config import CfgNode
from ..data.class_metadata import is_class_metadata
from ..engine import Predictor
from ..utils.checks import check_at_least
from ..utils.wording import counted
from .configs import Options, StrPath
from .evaluation import evaluate_config
from .failures import FailedImagesError, Failures
from .images import ImageLike
from .inputs import Images, NamedImage, Several, Source
from .result import PanopticResult

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
            UserError: the image cannot be read or is of another kind; the message names it.
            FailedImagesError: some of several images fail. Each is logged when it is its turn; the
                error comes after the others, and has the results of those of a list.
        """
        images = Images(source)
        results = self._results(images, batch_size, progress)
        if images.is_one:
            return next(results)
        return _listed(results) if images.is_list else results

    def stream(
        self,
        source: Source | Several | Iterator[Source],
        *,
        batch_size: int = 1,
        progress: bool | None = None,
    ) -> Iterator[PanopticResult]:
        """The results of :meth:`predict` as an iterator, whatever the source is."""
        return self._results(Images(source), batch_size, progress)

    def _results(
        self, images: Images, batch_size: int, progress: bool | None
    ) -> Iterator[PanopticResult]:
        check_at_least(1, batch_size=batch_size)
        is_hidden = images.is_one or (None if progress is None else not progress)
        bar = tqdm(total=images.count, desc="predict", unit="image", disable=is_hidden)
        failures, metadata = Failures(is_one=images.is_one), self._predictor.metadata
        every = _readable(images, failures)
        with bar:
            while batch := list(itertools.islice(every, batch_size)):
                for image, output in zip(batch, self._outputs(batch), strict=True):
                    if isinstance(output, Exception):
                        failures.add(image.where, output)
                    else:
                        yield PanopticResult(
                            image.pixels, output, metadata, name=image.name, source=image.source
                        )
                bar.update(len(batch))
        failures.throw()

    def _outputs(self, batch: Sequence[NamedImage]) -> list[dict[str, Any] | Exception]:
        """The outputs of a batch; if it fails, of each image alone, or its error."""
        try:
            return [*self._predictor.predict_batch([image.pixels for image in batch])]
        except Exception as error:  # whatever is wrong with one image, the others are done
            if len(batch) == 1:
                return [error]
        return [output for image in batch for output in self._outputs([image])]

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


def _readable(images: Images, failures: Failures) -> Iterator[NamedImage]:
    for image in images:
        if isinstance(image, NamedImage):
            yield image
        else:
            failures.add(image.where, image.error)


def _listed(results: Iterator[PanopticResult]) -> list[PanopticResult]:
    found = []
    try:
        for result in results:
            found.append(result)
    except FailedImagesError as error:
        error.results = found
        raise
    return found


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

"""The images that a report shows, and their pictures."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..d2.data import DatasetCatalog
from ..data.reading import read_image
from ..engine.result_segments import segments_of_record, segments_of_results
from ..visualization import VideoOverlays
from .errors import draw_errors
from .evaluation import Evaluation
from .statistics import ImageFigures, class_names

SIDE = 640  # longest side of a picture, pixels


@dataclass(frozen=True)
class Shown:
    """An image of the gallery.

    Attributes:
        groups: why it is shown, e.g. "worst".
        figures: of each run.
        classes: names of those that occur in the truth or in a prediction.
        pictures: caption -> "data:" address of a JPEG.
    """

    name: str
    groups: list[str]
    figures: list[ImageFigures]
    classes: list[str]
    pictures: dict[str, str]


def choose_images(runs: Sequence[Sequence[ImageFigures]], limit: int) -> dict[int, list[str]]:
    """At most ``limit`` images, by their places, and why each was chosen.

    A quarter each are the worst, the best (unless all are alike) and the most confused; with two
    runs a half are those whose quality differs most. The rest shows the worst image of every class
    that has none yet, then others, evenly spaced.
    """
    images, share = runs[0], max(1, limit // 4)
    chosen: dict[int, list[str]] = {}

    def take(group: str, values: dict[int, float], count: int) -> None:
        for place in sorted(values, key=values.__getitem__, reverse=True)[:count]:
            if place in chosen or len(chosen) < limit:
                chosen.setdefault(place, []).append(group)

    rated = {k: image.quality for k, image in enumerate(images) if not math.isnan(image.quality)}
    if len(runs) > 1:
        gain = {k: runs[1][k].quality - quality for k, quality in rated.items()}
        take("better in A", {k: -value for k, value in gain.items() if value < 0}, share)
        take("better in B", {k: value for k, value in gain.items() if value > 0}, share)
    take("worst", {k: -quality for k, quality in rated.items()}, share)
    lowest = min(rated.values(), default=0.0)
    take("best", {k: quality for k, quality in rated.items() if quality > lowest}, share)
    take("most confused", {k: i.confused for k, i in enumerate(images) if i.confused > 0}, share)
    for number in sorted(frozenset().union(*(image.classes for image in images))):
        if not any(number in images[k].classes for k in chosen):
            having = {k: -value for k, value in rated.items() if number in images[k].classes}
            take("by class", having, 1)
    others = [k for k in range(len(images)) if k not in chosen]
    spare = limit - len(chosen)
    for k in others[:: max(1, len(others) // spare)][:spare] if spare > 0 else ():
        chosen[k] = ["others"]
    return dict(sorted(chosen.items(), key=lambda item: rated.get(item[0], math.inf)))


def draw_gallery(runs: Sequence[Evaluation], limit: int) -> list[Shown]:
    """The pictures of the chosen images, the worst image first."""
    images = [run.statistics.images for run in runs]
    # A run may have left out images that cannot be read.
    paths = [path for path in images[0] if all(path in of_run for of_run in images)]
    figures = [[of_run[path] for path in paths] for of_run in images]
    records = {record["file_name"]: record for record in DatasetCatalog.get(runs[0].dataset)}
    chosen = choose_images(figures, limit)
    names = class_names(runs[0].statistics.classes)
    gallery = []
    for place in tqdm(chosen, desc="pictures", unit="image", disable=None):
        of_image = [of_run[place] for of_run in figures]
        gallery.append(
            Shown(
                name=Path(paths[place]).name,
                groups=chosen[place],
                figures=of_image,
                classes=sorted(names[c] for c in frozenset().union(*(f.classes for f in of_image))),
                pictures=_draw(records[paths[place]], runs),
            )
        )
    return gallery


def _draw(record: dict, runs: Sequence[Evaluation]) -> dict[str, str]:
    """The image, the ground truth, and the prediction and the errors of each run."""
    image = read_image(record, "RGB")
    truth = segments_of_record(record, image.shape[:2], runs[0].statistics.kind)
    overlays = VideoOverlays(runs[0].predictor.metadata, long_side=SIDE)
    pictures = {"image": _shrunk(image), "truth": overlays.draw(image, *truth)}
    for letter, run in zip(" AB" if len(runs) == 1 else "AB", runs, strict=False):
        predicted = segments_of_results(run.predictor(image), run.predictor.metadata)
        suffix = f" {letter}".rstrip()
        pictures["prediction" + suffix] = overlays.draw(image, *predicted)
        errors = draw_errors(image, truth, predicted, run.statistics.classes)
        pictures["errors" + suffix] = _shrunk(errors)
    return {caption: data_uri(picture) for caption, picture in pictures.items()}


def _shrunk(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    factor = SIDE / max(height, width)
    size = tuple(max(1, round(side * factor)) for side in (width, height))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def data_uri(picture: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3), as the address of a JPEG that needs no file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()

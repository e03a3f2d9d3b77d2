"""An ONNX file of ``psformer export`` as a model: one image in, segments out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .masks import Placement
from .postprocessing import Result, postprocess
from .preprocessing import prepare

KEY = "d2_psformer"  # of the settings among the metadata of a file
_NEEDED = {
    *("categories", "resize", "multiple", "more", "canvas", "stride", "aligned_corners"),
    *("mask_kind", "merging", "panoptic", "semantic"),
}


class Model:
    """
    Attributes:
        settings: what the file says of the model: "architecture", "categories" (id, name, isthing
            and color by class index), "resize", "multiple", "more" and "canvas" of the input,
            "stride", "aligned_corners" and "mask_kind" of the masks, "merging" with its thresholds,
            which can be changed, "panoptic" and "semantic", whether there is such a result.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int = 0,
        providers: tuple[str, ...] = ("CPUExecutionProvider",),
    ):
        """
        Args:
            path: of the ONNX file.
            threads: of onnxruntime; 0: as many as it likes.
            providers: of onnxruntime; the first that can run is taken.

        Raises:
            ValueError: there is no such file, or it is not one of ``psformer export``.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=list(providers))
        except Exception as error:  # its own classes of errors have no common base
            raise ValueError(f"'{path}' cannot be read by onnxruntime: {error}") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        try:
            settings = json.loads(metadata.get(KEY, "{}"))
        except (ValueError, RecursionError):
            settings = {}
        if not isinstance(settings, dict) or not settings.keys() >= _NEEDED:
            raise ValueError(f"'{path}' is no file of `psformer export`: it has no settings.")
        self.settings: dict[str, Any] = settings

    def __call__(self, image: np.ndarray) -> Result:
        """
        Args:
            image: uint8 (H, W, 3), RGB.

        Raises:
            ValueError: the image is of another type or shape, or an output of the network has NaN
                or infinity, which would pass for an empty image.
        """
        canvas, size = prepare(image, self.settings)
        outputs = self.run(canvas[None], np.array([size]))
        for name, value in outputs.items():
            if not np.isfinite(value).all():
                raise ValueError(
                    f"The network's output '{name}' has NaN or infinity: the weights have diverged,"
                    " or the precision of the provider is too narrow for this model."
                )
        stride, aligned = self.settings["stride"], self.settings["aligned_corners"]
        placement = Placement(canvas.shape[1:], size, image.shape[:2], stride, aligned)
        outputs = {name: value[0] for name, value in outputs.items()}
        return postprocess(self.settings, outputs, placement)

    def run(self, images: np.ndarray, sizes: np.ndarray) -> dict[str, np.ndarray]:
        """The network alone.

        Args:
            images: float32 (B, 3, H, W), RGB, 0...255, each in the upper left corner.
            sizes: int64 (B, 2), height and width of each; the rest of the canvas is padding.

        Returns:
            The outputs of the network by name.
        """
        names = [output.name for output in self.session.get_outputs()]
        values = self.session.run(names, {"images": images, "sizes": sizes})
        return dict(zip(names, values, strict=True))


def id_picture(panoptic: np.ndarray) -> Image.Image:
    """An id map as a picture of COCO's panoptic format: id = R + 256 G + 65536 B."""
    return Image.fromarray(
        np.stack([panoptic >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)
    )

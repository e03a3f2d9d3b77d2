"""What type checkers say of the Python API; mypy checks this file, and nothing runs it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from typing_extensions import assert_type

import d2_psformer
from d2_psformer import Model, PanopticResult, Segment


def check(array: np.ndarray, image: Image.Image, tensor: Tensor, stream: Iterator[Tensor]) -> None:
    model = d2_psformer.load("model.pth", device="cpu", dtype="bfloat16")
    assert_type(model, Model)
    for one in (array, image, tensor):
        assert_type(model.predict(one), PanopticResult)
    assert_type(model.predict("photo.jpg"), PanopticResult | Any)
    assert_type(model.predict([array, image, "photo.jpg"], batch_size=2), list[PanopticResult])
    assert_type(model.predict(stream), Iterator[PanopticResult])
    assert_type(model.predict(array).segments, list[Segment])
    assert_type(model.predict(array).draw(), Image.Image)
    for result in model.stream("photos/"):
        assert_type(result.segments[0].score, float | None)
    assert_type(d2_psformer.train("scenes/demo", options={"SOLVER.MAX_ITER": 1}), Model)
    assert_type(d2_psformer.push(model, "owner/name"), str)

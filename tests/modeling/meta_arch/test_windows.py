"""Semantic inference in windows against the formula of EoMT's authors."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_models import VARIANTS, image, infer, small_config, tiny_model

from d2_psformer.export.export import _for_export
from d2_psformer.modeling.meta_arch.windows import infer_in_windows
from d2_psformer.utils.errors import UserError

POST = "MODEL.POSTPROCESSING."
SEMANTIC = {f"{POST}PANOPTIC_ON": False, f"{POST}SEMANTIC_ON": True}
WINDOWS = SEMANTIC | {f"{POST}WINDOW": 64, "INPUT.MIN_SIZE_TEST": 64}


def models(name: str):
    """The same weights without and with windows."""
    return [tiny_model(**VARIANTS[name] | options) for options in (SEMANTIC, WINDOWS)]


@pytest.mark.parametrize("name", ["maskformer", "eomt", "per pixel"])
def test_one_window_is_the_whole_image(name):
    plain, windowed = models(name)
    inputs = {"image": image(64, 64), "height": 40, "width": 51}
    expected, found = (infer(model, inputs)[0]["sem_seg"] for model in (plain, windowed))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("size", [(64, 150), (129, 64), (64, 128), (64, 65)])
def test_it_is_the_formula_of_the_authors(size):
    plain, windowed = models("eomt")
    pixels, side = image(*size), 64
    is_tall = size[0] > size[1]
    count = math.ceil(max(size) / side)
    overlap = count * side - max(size)
    each = overlap / (count - 1) if overlap > 0 else 0
    sums, counts = torch.zeros(5, *size), torch.zeros(5, *size)
    for number in range(count):
        start = int(number * (side - each))
        place = (slice(None), slice(start, start + side))
        place = place if is_tall else (slice(None), slice(None), slice(start, start + side))
        sums[place] += infer(plain, {"image": pixels[place]})[0]["sem_seg"]
        counts[place] += 1
    expected = F.interpolate((sums / counts)[None], (50, 70), mode="bilinear")[0]
    (found,) = infer(windowed, {"image": pixels, "height": 50, "width": 70})
    torch.testing.assert_close(found["sem_seg"], expected)


def test_scores_are_averaged_where_windows_overlap():
    def columns(batch: list[dict]) -> list[dict]:
        """In the n-th window, n everywhere."""
        assert [x["image"].shape for x in batch] == [(3, 4, 4)] * 2, "all windows in one batch"
        return [{"sem_seg": torch.full((1, 4, 4), float(n))} for n in range(2)]

    (found,) = infer_in_windows(columns, [{"image": torch.zeros(3, 4, 6)}], 4)
    assert found["sem_seg"].tolist() == [[[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]] * 4]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({f"{POST}PANOPTIC_ON": True}, "WINDOW is 64: windows are for semantic results alone"),
        ({"INPUT.MIN_SIZE_TEST": 80}, "WINDOW is 64: INPUT.MIN_SIZE_TEST must be the same"),
    ],
)
def test_what_does_not_go_with_windows(options, words):
    with pytest.raises(UserError, match=words):
        tiny_model(**WINDOWS | options)


def test_export_refuses_windows():
    with pytest.raises(UserError, match="an exported model reads images as"):
        _for_export(small_config(**WINDOWS))

"""Checkpoints of other counts of classes or queries are refused by number and config key."""

import pytest
import torch
from small_models import MAX_DEEPLAB, tiny_model

from d2_psformer.engine import AtomicCheckpointer
from d2_psformer.utils.errors import UserError

SHARED = {
    "MODEL.POSTPROCESSING.PANOPTIC_ON": False,
    "MODEL.POSTPROCESSING.SEMANTIC_ON": True,
    "MODEL.PIXEL_DECODER.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.PIXEL_DECODER.NUM_LEVELS": 3,
}
CLASSES = "DATASETS.TRAIN"
QUERIES = "MODEL.TRANSFORMER_DECODER.NUM_QUERIES"


def model(architecture: str, things=(0, 1, 2), queries: int = 12) -> torch.nn.Module:
    options = {"MODEL.META_ARCHITECTURE": architecture, QUERIES: queries, **SHARED}
    return tiny_model(things, (len(things),), filled=False, **options)


@pytest.mark.parametrize("architecture", ["MaskFormer", "Mask2Former"])
@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"queries": 20}, ("of 20 queries, this model of 12", QUERIES)),
        ({"things": (0, 1, 2, 3, 4)}, ("of 6 classes, this model of 4", CLASSES)),
    ],
)
def test_mask_classification(architecture, other, words, tmp_path):
    expect_refusal(model(architecture, **other), model(architecture), words, tmp_path)


@pytest.mark.parametrize("architecture", ["PerPixelBaseline", "PerPixelBaselinePlus"])
def test_per_pixel_classification(architecture, tmp_path):
    words = "of 6 classes, this model of 4", CLASSES
    other = model(architecture, things=(0, 1, 2, 3, 4))
    expect_refusal(other, model(architecture), words, tmp_path)


@pytest.mark.parametrize(
    ("things", "queries", "words"),
    [
        (5, 12, ("of 6 classes, this model of 4", CLASSES)),
        (3, 20, ("of 20 queries, this model of 12", QUERIES)),
    ],
)
def test_max_deeplab(things, queries, words, tmp_path):
    saved, loading = (
        tiny_model(range(n), (n,), filled=False, **MAX_DEEPLAB, **{QUERIES: m})
        for n, m in ((things, queries), (3, 12))
    )
    expect_refusal(saved, loading, words, tmp_path)


@pytest.mark.parametrize("other", ["Mask2Former", "PerPixelBaselinePlus"])
def test_another_architecture(other, tmp_path):
    """Even where the numbers of queries differ as well."""
    words = ("of another architecture",)
    expect_refusal(model("MaskFormer"), model(other), words, tmp_path)
    expect_refusal(model(other, queries=20), model("MaskFormer"), words, tmp_path)


def expect_refusal(saved, loading, words: tuple[str, ...], folder) -> None:
    """Files that other code made have no names of classes."""
    torch.save({"model": saved.state_dict()}, folder / "a.pth")
    metadata = {"name": "ours", **loading.classes.to_metadata()}
    with pytest.raises(UserError, match=r"a\.pth' is of ") as caught:
        AtomicCheckpointer(loading, metadata=metadata).load(str(folder / "a.pth"))
    for word in (*words, "SOLVER.FINETUNE"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)

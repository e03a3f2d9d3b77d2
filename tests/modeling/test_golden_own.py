"""The numbers of a run that equalled the official implementation, for machines without its own.

``make_golden.py`` says how they are made.
"""

import make_golden
import numpy as np
import pytest


@pytest.fixture(scope="module")
def ours():
    return make_golden.compute()


@pytest.fixture(scope="module")
def golden():
    with np.load(make_golden.FILE) as archive:
        return {key: archive[key] for key in archive.files}


def test_file_is_small_and_complete(ours, golden):
    assert make_golden.FILE.stat().st_size < 200_000
    assert set(golden) == set(ours)


@pytest.mark.parametrize(
    "name",
    ["features", "memory", "logits", "boxes", "thing_masks", "stuff_masks", "stuff_logits"],
)
def test_outputs(name, ours, golden):
    assert ours[name].shape == golden[name].shape
    assert np.abs(ours[name] - golden[name]).max() <= 1e-4 * np.abs(golden[name]).max()


def test_panoptic_map(ours, golden):
    assert (ours["id_map"] != golden["id_map"]).mean() < 1e-3
    assert ours["segment_classes"].tolist() == golden["segment_classes"].tolist()
    assert ours["segment_scores"] == pytest.approx(golden["segment_scores"], rel=1e-3)
    kinds = golden["segment_classes"] < 7
    assert kinds.sum() >= 2 and (~kinds).sum() >= 1, "a golden with too few segments proves little"


def test_losses(ours, golden):
    found, expected = (dict(zip(x["loss_names"], x["losses"], strict=True)) for x in (ours, golden))
    assert found == pytest.approx(expected, rel=1e-4)


def test_gradient_norms(ours, golden):
    assert ours["gradient_names"].tolist() == golden["gradient_names"].tolist()
    assert ours["gradient_norms"] == pytest.approx(golden["gradient_norms"], rel=5e-3, abs=1e-5)

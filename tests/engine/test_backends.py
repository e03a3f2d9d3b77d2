"""The same training on real Detectron2 and on d2lite."""

import shutil

import pytest
from dummy_processes import assert_equal_weights, needs_detectron2, run_script, weights_of

BACKENDS = ("detectron2", "d2lite")
pytestmark = needs_detectron2


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """{backend: (folder, losses of 20 iterations)}"""
    found = {}
    for backend in BACKENDS:
        folder = tmp_path_factory.mktemp(backend)
        found[backend] = folder, run_script(folder, backend=backend)
    return found


def test_same_losses(runs):
    first, second = (losses for _, losses in runs.values())
    assert len(first) == 20
    assert first == second


@pytest.mark.parametrize(("first", "second"), [BACKENDS, BACKENDS[::-1]])
def test_a_checkpoint_of_one_resumes_on_the_other(tmp_path, runs, first, second):
    folder, losses = runs[first]
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "last_checkpoint").write_text("model_0000009.pth")
    (tmp_path / "run" / "model_final.pth").unlink()
    resumed = run_script(tmp_path / "run", flags=["--resume"], backend=second)
    assert resumed == {i: loss for i, loss in losses.items() if i >= 10}
    assert_equal_weights(weights_of(tmp_path / "run"), weights_of(folder))

"""The same training on real Detectron2 and on d2lite."""

import json
import shutil
import subprocess
import sys

import pytest
from dummy_processes import (
    ROOT,
    assert_equal_weights,
    needs_detectron2,
    run_script,
    script_environment,
    weights_of,
)

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


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    command = [str(ROOT / "datasets" / "generate_scenes.py"), "--output", str(folder / "scenes")]
    options = ["--train", "8", "--val", "1", "--size", "64", "--workers", "1"]
    subprocess.run([sys.executable, *command, *options], env=script_environment(), check=True)
    return folder


def test_same_training_of_the_real_model(tmp_path, scenes):
    options = ["SOLVER.MAX_ITER", "20", "SOLVER.IMS_PER_BATCH", "2", "DATASETS.TEST", "()"]
    lines = []
    for backend in BACKENDS:
        output = tmp_path / backend
        done = subprocess.run(
            [sys.executable, str(ROOT / "train_net.py"), "--config-file",
             str(ROOT / "configs" / "scenes" / "demo.yaml"), *options, "OUTPUT_DIR", str(output)],
            env={**script_environment(backend), "DETECTRON2_DATASETS": str(scenes)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        line = json.loads((output / "metrics.json").read_text().splitlines()[-1])
        lines.append({name: value for name, value in line.items() if "time" not in name})
    assert len(lines[0]) > 10
    assert lines[0] == lines[1]
    assert_equal_weights(*(weights_of(tmp_path / backend) for backend in BACKENDS))

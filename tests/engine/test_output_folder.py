"""One training at a time in an OUTPUT_DIR, and no new one among the results of another."""

import argparse
import os
import signal
import subprocess
import sys

import pytest
from dummy_processes import ROOT, script_environment
from dummy_training import RecordingTrainer, dummy_cfg

from d2_psformer.engine import setup
from d2_psformer.engine.output_folder import claim_folder, release_folder
from d2_psformer.utils.errors import UserError

pytest.importorskip("fcntl")

CLAIM = """
import sys, time
from d2_psformer.engine.output_folder import claim_folder
from d2_psformer.utils.errors import UserError
try:
    claim_folder(sys.argv[1], resume=True)
    print("claimed", flush=True)
    time.sleep(60)
except UserError as error:
    print(error)
"""


def claim_elsewhere(folder) -> subprocess.Popen:
    command = [sys.executable, "-c", CLAIM, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_live_process_holds_a_folder_and_a_dead_one_does_not(tmp_path):
    folder = tmp_path / "out"
    other = claim_elsewhere(folder)
    assert other.stdout.readline() == "claimed\n"
    refusal = rf"'{folder}' \(process {other.pid} on .*\).*OUTPUT_DIR {folder}-2"
    with pytest.raises(UserError, match=refusal):
        claim_folder(str(folder), resume=True)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    claim_folder(str(folder), resume=True)
    claim_folder(str(folder), resume=True)  # this process has it
    assert f"process {os.getpid()} on" in claim_elsewhere(folder).communicate()[0]
    release_folder(str(folder))
    other = claim_elsewhere(folder)
    assert other.stdout.readline() == "claimed\n"
    other.kill()
    other.communicate()


def test_a_forked_process_does_not_keep_a_folder(tmp_path):
    claim_folder(str(tmp_path), resume=True)
    if (child := os.fork()) == 0:
        signal.pause()
    release_folder(str(tmp_path))
    other = claim_elsewhere(tmp_path)
    assert other.stdout.readline() == "claimed\n"
    other.kill()
    other.communicate()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    "name", ["last_checkpoint", "metrics.json", "evaluations.json", "model_final.pth"]
)
def test_a_new_training_takes_no_folder_with_results(tmp_path, name):
    folder = tmp_path / "demo"
    folder.mkdir()
    (tmp_path / "demo-2").mkdir()
    (folder / name).write_text("")
    with pytest.raises(UserError, match=rf"\({name}\).*--resume.*OUTPUT_DIR {folder}-3"):
        claim_folder(str(folder), resume=False)
    assert [path.name for path in folder.iterdir()] == [name]
    claim_folder(str(folder), resume=True)
    release_folder(str(folder))


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UserError, match=rf"OUTPUT_DIR '{folder}' cannot be written to \("):
            claim_folder(str(folder), resume=True)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a place that is read-only")
def test_a_read_only_place():
    with pytest.raises(UserError, match="OUTPUT_DIR '/proc/out' cannot be written to"):
        claim_folder("/proc/out", resume=False)


def test_a_folder_without_results_is_free(tmp_path):
    (tmp_path / "log.txt").write_text("of a start that failed")
    claim_folder(str(tmp_path), resume=False)
    RecordingTrainer(dummy_cfg(tmp_path, "SOLVER.MAX_ITER", 1)).train()
    other = claim_elsewhere(tmp_path)
    assert other.stdout.readline() == "claimed\n", "the end of training releases it"
    other.kill()
    other.communicate()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "no weights to evaluate"),
        (("MODEL.WEIGHTS", "nowhere.pth"), r"nowhere\.pth"),
        (("MODEL.WEIGHTS", "nowhere.pth", "DATASETS.TEST", "()"), r"DATASETS\.TEST is empty"),
    ],
)
def test_an_evaluation_without_weights_leaves_no_folder(tmp_path, options, sentence):
    args = argparse.Namespace(
        config_file="scenes/demo", eval_only=True, resume=True,
        opts=["OUTPUT_DIR", str(tmp_path / "out"), *options],
    )  # fmt: skip
    with pytest.raises(UserError, match=sentence):
        setup(args)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_refuses_before_it_writes(tmp_path):
    (tmp_path / "metrics.json").write_text("")
    command = [sys.executable, "-m", "d2_psformer", "train", "--config", "scenes/demo"]
    done = subprocess.run(
        [*command, "--num-gpus", "2", "MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path)],
        env=script_environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "go on by --resume (in Python resume=True), or name a free" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]

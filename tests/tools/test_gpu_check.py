"""The check on a GPU with steps of a second: order, limits, report; and what its steps name."""

import sys
import time
from pathlib import Path

import gpu_check
import pytest
import torch
from gpu_check import Step, report, run_step, run_steps

ROOT = Path(__file__).parents[2]


def python(code: str, limit: float = 20, **options) -> Step:
    return Step(options.pop("name", "a step"), [sys.executable, "-c", code], limit, **options)


def test_a_step_passes_in_the_repository_with_the_environment_given():
    code = "import os; print(os.environ['X'], os.path.isfile('train_net.py'))"
    outcome = run_step(python(code), {"X": "7"}, time_left=60)
    assert (outcome.problem, outcome.output) == ("", "7 True\n")


def test_a_failed_step_does_not_end_the_others():
    bad = python("import sys; print('why'); sys.exit(3)", name="bad")
    outcomes = run_steps([bad, python("print('fine')")], {})
    assert [o.problem for o in outcomes] == ["failed with status 3", ""]
    assert outcomes[0].output == "why\n"


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "time_left"), [(1, 60), (60, 1.5)])
def test_a_step_is_ended_with_its_processes_at_its_limit_or_when_time_is_up(
    tmp_path, limit, time_left
):
    child = f"import time; time.sleep(4); open({str(tmp_path / 'late')!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    outcome = run_step(python(code, limit), {}, time_left)
    assert outcome.problem.startswith("failed: not done after")
    assert time.monotonic() - start < 4
    time.sleep(max(0.0, start + 5 - time.monotonic()))
    assert not (tmp_path / "late").exists()


def test_steps_without_time_fail_unrun():
    slow = python("import time; time.sleep(60)")
    first, second = run_steps([slow, python("print(1)")], {}, budget=1.2)
    assert first.problem.startswith("failed: not done")
    assert second.problem == "not run, because no time was left"
    assert second.output == ""


def test_skipped_tests_count_as_failed():
    code = "print('2 passed, 1 skipped')"
    assert run_step(python(code), {}, 60).problem == ""
    outcome = run_step(python(code, must_not_skip=True), {}, 60)
    assert outcome.problem == "failed: tests were skipped"


def test_report():
    lines = "\n".join(map(str, range(100)))
    bad = python(f"import sys; print({lines!r}); sys.exit(1)", name="bad")
    table = python("print('| a |\\n|---|\\n| 1 |')", name="timings", shown=True)
    text = report(["- a GPU"], run_steps([bad, table, python("print('secret')")], {}))
    assert text.startswith("# Check on a GPU\n\n- a GPU\n\n1 of 3 steps failed: bad.\n")
    assert "| bad | failed with status 1 | 0 |" in text and "| timings | passed | 0 |" in text
    assert "## timings\n\n| a |\n|---|\n| 1 |" in text
    assert "```\n60\n61\n" in text and "\n99\n```" in text  # the last lines of the failed step
    assert "secret" not in text
    assert "All passed." in report([], run_steps([python("")], {}))


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_it_says_so(capsys, tmp_path):
    assert gpu_check.main(["--output", str(tmp_path / "report.md")]) == 1
    said = capsys.readouterr().err
    assert said == "gpu_check.py: this machine has no GPU that PyTorch can use.\n"
    assert not (tmp_path / "report.md").exists()


def test_all_files_of_the_steps_exist_and_all_limits_fit():
    chosen = gpu_check.steps(Path("folder"))
    for step in chosen:
        for word in map(str, step.command):
            if word.endswith((".py", ".yaml")):
                assert (ROOT / word).is_file(), word
        assert step.limit <= 150
    assert gpu_check.BUDGET < 8 * 60
    assert len({step.name for step in chosen}) == len(chosen)


def test_an_unknown_step_is_refused(capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--only", "colour"])
    assert "there is no step 'colour': compile kernels, " in capsys.readouterr().err

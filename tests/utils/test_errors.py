"""Which errors become one sentence, from whatever process they come, and which stay tracebacks."""

import argparse
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from d2_psformer.d2.data import DatasetFromList, MapDataset
from d2_psformer.engine import run
from d2_psformer.engine.loader_worker import CarryingMapper, RaisingLoader
from d2_psformer.utils.commands import report_user_errors
from d2_psformer.utils.errors import UserError, check_known, is_user_error, sentence_of

SENTENCE = "Image 'a.jpg' is blue: paint it 'red'."


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.delenv("D2_PSFORMER_TRACEBACK", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["somewhere/paint.py"])


class Refuse:
    """A function that raises an error of some type."""

    def __init__(self, kind=UserError):
        self.kind = kind

    def __call__(self, *_):
        raise self.kind(SENTENCE)


def read_missing_file(*_):
    Path("/nowhere/at/all").read_text()


def caught(function):
    with pytest.raises(Exception) as info:
        function()
    return info.value


def test_our_sentences_and_files_with_a_name_are_for_users():
    assert sentence_of(caught(Refuse())) == SENTENCE
    error = caught(read_missing_file)
    assert is_user_error(error)
    assert sentence_of(error) == "'/nowhere/at/all': No such file or directory."


def test_names_from_files_cannot_break_the_sentence():
    """Line breaks, escape sequences of terminals and undecodable bytes are shown escaped."""
    name = "a\n\x1b[2J\u2028\udc80 é 猫"
    expected = r"a\n\x1b[2J\u2028\udc80 é 猫"
    assert str(UserError(f"No class '{name}'.")) == f"No class '{expected}'."
    assert sentence_of(OSError(2, "No such file", name)) == f"'{expected}': No such file."


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, OSError, RuntimeError, AssertionError, ImportError]
)
def test_all_others_keep_their_traceback(kind):
    assert not is_user_error(kind(SENTENCE))
    with pytest.raises(kind), report_user_errors():
        Refuse(kind)()


@pytest.mark.parametrize("path", ["somewhere/paint.py", "where/paint.py/__main__.py"])
def test_the_command_ends_with_the_sentence(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(path))])
    with pytest.raises(SystemExit) as ended, report_user_errors():
        Refuse()()
    assert ended.value.code.split("\n")[0] == f"paint.py: {SENTENCE}"


def test_tracebacks_on_demand(monkeypatch):
    monkeypatch.setenv("D2_PSFORMER_TRACEBACK", "1")
    with pytest.raises(UserError, match="blue"), report_user_errors():
        Refuse()()


def load(function, workers: int) -> None:
    data = MapDataset(DatasetFromList([{}]), CarryingMapper(function))
    list(RaisingLoader(data, num_workers=workers))


def load_in_a_worker(function) -> None:
    load(function, 1)


def load_here(function) -> None:
    load(function, 0)


def call(args: argparse.Namespace) -> None:
    args.way(args.function) if args.way else args.function()


def launch_two(function, way=None) -> None:
    options = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    run(call, argparse.Namespace(function=function, way=way, **options))


def launch_two_with_workers(function) -> None:
    launch_two(function, load_in_a_worker)


def call_in_a_pool(function) -> None:
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(function, [1]))


@pytest.mark.parametrize(
    "way",
    [
        load_here,
        load_in_a_worker,
        call_in_a_pool,
        pytest.param(launch_two_with_workers, marks=pytest.mark.slow),
    ],
)
def test_errors_are_carried_from_other_processes(way):
    error = caught(lambda: way(Refuse()))
    assert (type(error), str(error)) == (UserError, SENTENCE)
    assert "raise self.kind(SENTENCE)" in "".join(traceback.format_exception(error))


def test_file_errors_are_carried_whole():
    error = caught(lambda: load_in_a_worker(read_missing_file))
    assert sentence_of(error) == "'/nowhere/at/all': No such file or directory."


@pytest.mark.parametrize("way", [load_in_a_worker, launch_two])
def test_bugs_in_other_processes_keep_their_traceback(way):
    error = caught(lambda: way(Refuse(KeyError)))
    assert not is_user_error(error)
    assert "raise self.kind(SENTENCE)" in str(error)


def test_unknown_names_are_refused_with_those_like_it():
    check_known("Colour", "red", ["red", "blue"])
    with pytest.raises(UserError, match=r"^Colour 'bleu' is unknown: use one of blue\.$"):
        check_known("Colour", "bleu", {"red": 1, "blue": 2})
    with pytest.raises(UserError, match=r"use one of blue, red\.$"):
        check_known("Colour", "zzz", ["red", "blue"])
    with pytest.raises(UserError, match=r"use one of 0, 1, 10, 11, 12, \.\.\.\.$"):
        check_known("Colour", "zzz", map(str, range(20)))

"""Which errors become one sentence, whatever process they come from, and which stay tracebacks."""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch.multiprocessing as mp
from torch.utils.data import DataLoader

from d2_psformer.command_errors import sentence_of, told_in_one_sentence

SENTENCE = "Image 'a.jpg' is blue: paint it 'red'."


@pytest.fixture(autouse=True)
def command(monkeypatch):
    monkeypatch.delenv("D2_PSFORMER_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "argv", ["somewhere/paint.py"])


class Refusing:
    """Raises an error of a type for its length and for its item; as a function too."""

    def __init__(self, kind=ValueError):
        self.kind = kind

    def __call__(self, *_):
        raise self.kind(SENTENCE)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        self()


def caught(function):
    with pytest.raises(Exception) as info:
        function()
    return info.value


@pytest.mark.parametrize("kind", [ValueError, KeyError, FileNotFoundError, FloatingPointError])
def test_sentences_are_told(kind):
    assert sentence_of(caught(Refusing(kind))) == SENTENCE


@pytest.mark.parametrize(
    "function",
    [Refusing(RuntimeError), [].pop, lambda: None.size, Refusing(ZeroDivisionError)],
)
def test_faults_of_the_program_are_not(function):
    assert sentence_of(caught(function)) is None


def test_errors_of_the_system_are_told(tmp_path):
    error = caught((tmp_path / "nowhere").read_text)
    assert sentence_of(error) == f"'{tmp_path}/nowhere': No such file or directory."
    assert sentence_of(caught(lambda: json.loads("{"))).startswith("Expecting property name")


def read_worker(_, kind):
    list(DataLoader(Refusing(kind), num_workers=1))


@pytest.mark.parametrize("kind", [ValueError, KeyError])
def test_errors_of_other_processes_are_told(kind):
    assert sentence_of(caught(lambda: read_worker(0, kind))) == SENTENCE
    assert sentence_of(caught(lambda: mp.spawn(read_worker, (kind,)))) == SENTENCE
    with ProcessPoolExecutor(1) as pool:
        assert sentence_of(caught(lambda: list(pool.map(Refusing(kind), [1])))) == SENTENCE


def test_faults_in_other_processes_are_not():
    assert sentence_of(caught(lambda: mp.spawn(read_worker, (RuntimeError,)))) is None


@pytest.mark.parametrize("path", ["somewhere/paint.py", "where/paint.py/__main__.py"])
def test_the_command_ends_with_the_sentence(path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(path))])
    with pytest.raises(SystemExit) as ended, told_in_one_sentence():
        Refusing()()
    assert ended.value.code.split("\n")[0] == f"paint.py: {SENTENCE}"
    with pytest.raises(IndexError), told_in_one_sentence():
        [].pop()


def test_tracebacks_on_demand(monkeypatch):
    monkeypatch.setenv("D2_PSFORMER_TRACEBACK", "1")
    with pytest.raises(ValueError, match="blue"), told_in_one_sentence():
        Refusing()()

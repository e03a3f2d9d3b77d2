import json

import pytest

from d2_psformer.data.converters.journal import map_resumable

ITEMS = [(name, name) for name in "abcd"]


def double(text: str, *, calls: list, failing: str = "") -> str:
    if text == failing:
        raise KeyboardInterrupt
    calls.append(text)
    return 2 * text


def resumable(journal, *, failing="", settings="s", items=ITEMS, is_kept=lambda result: True):
    calls = []
    results = map_resumable(
        lambda text: double(text, calls=calls, failing=failing),
        items,
        journal,
        settings,
        workers=0,
        description="d",
        is_kept=is_kept,
    )
    return results, calls


@pytest.fixture
def journal(tmp_path):
    """Of a run that was interrupted before the third item."""
    path = tmp_path / "folder" / "journal"
    with pytest.raises(KeyboardInterrupt):
        resumable(path, failing="c")
    return path


RESULTS = ["aa", "bb", "cc", "dd"]


def test_it_goes_on_where_it_stopped(journal):
    assert resumable(journal, items=iter(ITEMS)) == (RESULTS, ["c", "d"])
    assert resumable(journal) == (RESULTS, [])
    assert resumable(journal, items=ITEMS[1:3]) == (["bb", "cc"], [])


def test_a_line_cut_short_is_done_again(journal):
    text = journal.read_text()
    journal.write_text(text[:-3])
    assert resumable(journal) == (RESULTS, ["b", "c", "d"])


@pytest.mark.parametrize("damage", ["", "null\n", "[1]\n", "{"])
def test_a_journal_without_a_beginning_is_not_used(journal, damage):
    journal.write_text(damage)
    assert resumable(journal) == (RESULTS, ["a", "b", "c", "d"])


def test_other_settings_and_lost_files_start_anew(journal):
    assert resumable(journal, is_kept=lambda result: result != "aa")[1] == ["a", "c", "d"]
    assert resumable(journal, settings="t")[1] == ["a", "b", "c", "d"]
    assert json.loads(journal.read_text().splitlines()[0]) == {"settings": "t"}

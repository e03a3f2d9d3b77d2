import errno
import json
import math
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2_psformer.utils.errors import UserError, sentence_of
from d2_psformer.utils.files import (
    atomic_path,
    atomic_write,
    comparable_name,
    read_json,
    safe_name,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "deep" / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_write(path, "w") as file:
        file.write("half of it")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_writes_nothing_makes_no_file(tmp_path):
    with atomic_path(tmp_path / "a.mp4") as temporary:
        assert temporary.suffix == ".mp4"
    assert not list(tmp_path.iterdir())


def test_the_longest_names_can_be_written(tmp_path):
    path = tmp_path / ("é" * 125 + ".json")  # 255 bytes
    write_json(path, 1)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_links_stay_links(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "model.pth"
    link.symlink_to(tmp_path / "disk" / "real.pth")
    with atomic_write(link, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert (tmp_path / "disk" / "real.pth").read_text() == "new"


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    path = tmp_path / ("a" * 300)
    with pytest.raises(OSError) as caught:
        write_json(tmp_path / "ok" / path.name, 1)
    # the temporary name is short: only the last step fails
    assert sentence_of(caught.value) == f"'{tmp_path}/ok/{path.name}': File name too long."
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "b"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert sentence_of(caught.value) == f"'{tmp_path}/b': No space left on device."


def test_numbers_that_json_lacks_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"pq": math.nan, "rows": [1.5, (math.inf, "x")]})
    assert read_json(tmp_path / "a.json") == {"pq": None, "rows": [1.5, [None, "x"]]}


def test_json_errors_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"none.json' does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"bad.json' is not valid JSON"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"bad.json' is not valid JSON"):
        read_json(tmp_path / "bad.json")


@given(st.text(st.characters(), max_size=150))
def test_safe_names_are_parts_of_names(text):
    name = safe_name(text)
    assert len(name.encode()) <= 200
    assert not set(name) & set('/\\:*?"<>|\x00\n')
    assert safe_name(name) == name


def test_safe_names_of_plain_text_are_the_text():
    assert safe_name("Café 1.2 [x]") == "Café 1.2 [x]"
    assert safe_name("a/b\\c") == "a-b-c"
    assert safe_name(Path(os.fsdecode(b"caf\xe9")).stem) == "caf"


def test_names_that_a_file_system_may_take_for_one_are_the_same():
    composed, decomposed = (unicodedata.normalize(form, "É.jpg") for form in ("NFC", "NFD"))
    assert comparable_name(composed) == comparable_name(decomposed) == comparable_name("é.JPG")
    assert comparable_name("e.jpg") != comparable_name("é.jpg")

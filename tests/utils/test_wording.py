import re
from pathlib import Path

import pytest

from d2_psformer.utils.wording import counted

FILES = sorted((Path(__file__).parents[2] / "d2_psformer").rglob("*.py"))
# Words whose plural would stand behind a number that may be 1.
PLURALS = r"(images|classes|segments|files|tensors|points|things|annotations|machines|errors)\b"


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (2, "stuff segment", "2 stuff segments"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (3, "batch", "3 batches"),
    ],
)
def test_counted(number, noun, words):
    assert counted(number, noun) == words


def test_messages_count_by_it():
    """No message has a number, whatever it is, before a plural, or ``(s)`` for either."""
    pattern = re.compile(
        rf"(\{{(len\([^{{}}]*|[a-z_.]*(num|count)[a-z_.]*)\}}|%d) {PLURALS}|(?<!dict)\(e?s\)[ :]"
    )
    found = {path.name: pattern.search(path.read_text(encoding="utf-8")) for path in FILES}
    assert {name: match[0] for name, match in found.items() if match} == {}

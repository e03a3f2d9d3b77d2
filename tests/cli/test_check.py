"""``psformer check``: status, JSON and HTML."""

import json
from html.parser import HTMLParser

import pytest
from small_data import write_semantic

from d2_psformer.cli.main import main


@pytest.fixture
def data(tmp_path, clean_catalogs):
    """Semantic data whose two images differ; the folder of its data.yaml."""
    write_semantic(tmp_path)
    (tmp_path / "data.yaml").write_text(
        "DATASETS:\n  REGISTER:\n    - [checked, images, labels, [a, b, <c>]]\n"
        '  TRAIN: ("checked",)\n'
    )
    return tmp_path


def check(data, *more):
    return main(["check", "--data", str(data), "--workers", "0", *map(str, more)])


def test_warnings_end_with_0_unless_strict(data, capsys):
    assert check(data) == 0
    assert "warning  tiny image" in capsys.readouterr().out
    assert check(data, "--strict") == 1


def test_json(data):
    (data / "labels/1.png").write_bytes(b"")
    assert check(data, "--json", data / "out.json") == 1
    content = json.loads((data / "out.json").read_text())
    (report,) = content["data sets"]
    assert report["name"] == "checked"
    first = report["findings"][0]
    assert (first["severity"], first["kind"]) == ("error", "annotation")
    assert first["images"] == [str(data / "images/1.jpg")]
    assert [row["class"] for row in report["classes"]] == ["a", "b", "<c>", "void"]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.words, self.tags, self.attributes = [], [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.sources += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_no_other_file(data):
    (data / "images/1.jpg").write_bytes(b"")
    assert check(data, "--html", data / "out.html") == 1
    page = Page((data / "out.html").read_text())
    assert len(page.sources) == 3  # an icon and both images
    assert all(source.startswith("data:") for source in page.sources)
    assert "<c>" in page.words
    assert any("cannot be decoded" in words for words in page.words)


HARMFUL = (
    "<script>document.title='harmed'</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "{{7*7}}{% for x in y %}",
    "a\nb\u2028c",
    "方形 &lt;b&gt;",
)


def test_names_in_the_page_are_text_alone(tmp_path, clean_catalogs):
    """Of data sets, classes and files."""
    write_semantic(tmp_path)
    for number, kept in ((0, HARMFUL[1]), (1, HARMFUL[3])):
        for folder, suffix in (("images", "jpg"), ("labels", "png")):
            (tmp_path / folder / f"{number}.{suffix}").rename(
                tmp_path / folder / f"{kept}.{suffix}"
            )
    (tmp_path / "images" / f"{HARMFUL[1]}.jpg").write_bytes(b"")
    entry = [HARMFUL[0], "images", "labels", list(HARMFUL)]
    content = {"DATASETS": {"REGISTER": [entry], "TRAIN": [HARMFUL[0]]}}
    (tmp_path / "data.yaml").write_text(json.dumps(content))
    assert check(tmp_path, "--html", tmp_path / "out.html") == 1
    page = Page((tmp_path / "out.html").read_text())
    assert page.tags.isdisjoint({"script", "svg", "b"})
    assert not any(name.startswith("on") for name in page.attributes)
    for name in HARMFUL:
        assert any(name in word for word in page.words), name


def test_a_path_is_no_name(data):
    with pytest.raises(SystemExit, match="is a path, not the name of a data set: add --data"):
        main(["check", str(data)])


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_folder_for_the_result_is_refused_before_the_check(data, capsys, option):
    with pytest.raises(SystemExit, match="is a folder: name a file in it"):
        check(data, option, data)
    assert capsys.readouterr().out == ""

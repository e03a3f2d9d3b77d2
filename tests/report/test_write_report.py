"""The page of a report: its figures, its pictures, and that it needs nothing else."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from small_report import HARMFUL, HARMFUL_FILE

from d2_psformer.cli import report as command
from d2_psformer.cli.report import add_arguments
from d2_psformer.report import read_run, write_report
from d2_psformer.utils.errors import UserError


class Page(HTMLParser):
    """Tags with attributes, the text, and the cells of tables."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.rows, self.text = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(run, tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("page") / "new" / "one.html"
    table, written = write_report([read_run(str(run))], path, num_images=4)
    assert written == path
    assert "PQ things" in table
    return Page(path)


def test_figures_are_those_of_the_evaluator(page, run):
    measured = json.loads((run / "inference" / "report_val" / "metrics.json").read_text())
    figures = measured["panoptic_seg"]
    values = re.findall(r"<dt>(.*?)</dt><dd>([^<]*)<", page.source)
    assert dict(values)["PQ"] == f"{figures['PQ']:.1f}"
    found = {row[0]: row[2] for row in page.rows if len(row) == 9 and row[1] in ("thing", "stuff")}
    expected = {k.removeprefix("PQ-"): v for k, v in figures.items() if k.startswith("PQ-")}
    assert found == {k: "–" if v is None else f"{v:.1f}" for k, v in expected.items()}  # noqa: RUF001


def test_it_needs_no_other_file_and_no_network(page):
    addresses = [a.get(key, "") or "" for _, a in page.tags for key in ("src", "href", "data")]
    assert all(x == "" or x.startswith(("#", "data:")) for x in addresses)
    assert "http" not in page.source
    assert "@import" not in page.source
    assert "url(" not in page.source


def test_names_are_text_only(page):
    assert HARMFUL not in page.source
    assert HARMFUL in page.text
    assert len(page.attributes("script")) == 1
    assert any(a["data-name"] == HARMFUL_FILE for a in page.attributes("article"))
    assert not any(name.startswith("on") for _, a in page.tags for name in a)
    classes = [a["data-classes"] for a in page.attributes("article")]
    assert any(HARMFUL in json.loads(names) for names in classes)


def test_pictures(page):
    cards = page.attributes("article")
    assert len(cards) == 4
    pictures = [a for a in page.attributes("img") if "data-layer" in a]
    assert [p["data-layer"] for p in pictures[:4]] == ["image", "truth", "prediction", "errors"]
    assert len(pictures) == 16
    for picture in pictures:
        assert picture["alt"]
        content = base64.b64decode(picture["src"].removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(content)) as image:
            assert max(image.size) == 640
    assert len(page.source) < 4 * 4 * 400_000


def test_every_control_has_a_name(page):
    """Links, buttons and fields say to a screen reader what they are."""
    assert len(page.attributes("html")[0]["lang"]) == 2
    labels = page.source.count("<label")
    assert labels >= len(page.attributes("input")) + len(page.attributes("select")) - 0
    assert all(a.get("aria-label") or a.get("role") != "img" for a in page.attributes("svg"))


def test_an_axis_of_zeros_is_no_axis_of_hundredths(page):
    chart = page.source.split("Panoptic quality, %", 1)[1].split("</svg>")[0]
    ticks = re.findall(r'text-anchor="end">([^<]+)</text>', chart)
    assert [float(t) for t in ticks if t != "iteration"] == [0, 0.2, 0.4, 0.6, 0.8, 1]


def test_two_runs_side_by_side(run, tmp_path):
    other = read_run(str(run), ["MODEL.POSTPROCESSING.SCORE_THRESHOLD", "0.9"])
    table, path = write_report([read_run(str(run)), other], tmp_path, num_images=2)
    assert path == tmp_path / "report.html"
    assert len(table.splitlines()) == 4
    page = Page(path)
    layers = [a["data-layer"] for a in page.attributes("img") if "data-layer" in a][:6]
    assert layers == ["image", "truth", "prediction A", "errors A", "prediction B", "errors B"]
    differing = [row for row in page.rows if "MODEL.POSTPROCESSING.SCORE_THRESHOLD" in row]
    assert differing == [["MODEL.POSTPROCESSING.SCORE_THRESHOLD", "0.25", "0.0", "0.9"]]
    (heading,) = (row for row in page.rows if row[:3] == ["class", "kind", "PQ A"])
    figures = ("PQ", "SQ", "RQ", "found", "false", "missed")
    triples = [f"{figure} {of}" for figure in figures for of in ("A", "B", "change")]
    assert heading == ["class", "kind", *triples, "images"]
    rows = [row for row in page.rows if row[1:2] in (["thing"], ["stuff"])]
    column = heading.index("false A")
    assert any(row[column] != row[column + 1] for row in rows)  # a threshold of 0 and one of 0.9
    for row in rows:
        a, b, change = (int(cell) for cell in row[column : column + 3])
        assert change == b - a
        assert row[column + 2].startswith("+") == (b >= a)


def run_command(*arguments: str) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command.run(parser.parse_args(arguments))


def test_the_command(run, tmp_path, capsys):
    run_command(str(run), "--output", str(tmp_path), "--num-images", "1")
    said = capsys.readouterr().out
    assert "PQ stuff" in said
    assert str(tmp_path / "report.html") in said


@pytest.mark.parametrize("count", ["0", "201", "many"])
def test_the_gallery_has_a_limit(count, capsys):
    with pytest.raises(SystemExit):
        run_command("anything", "--num-images", count)
    assert f"'{count}' is not a number from 1 to 200" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        (["MODEL.WEIGHTS", "none.pth"], "'none.pth' does not exist"),
        (["DATASETS.TEST", "()"], "DATASETS.TEST must begin"),
        (["DATASETS.TEST", "('report_vall',)"], "report_vall"),
    ],
)
def test_errors_are_one_sentence(run, opts, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        write_report([read_run(str(run), opts)])


def test_a_folder_without_a_training(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.yaml"):
        read_run(str(tmp_path))

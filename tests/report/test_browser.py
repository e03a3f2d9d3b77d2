"""The report in a real browser: it opens, sorts, filters, and shows pictures."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_report import ABSENT, HARMFUL

from d2_psformer.report import read_run, write_report

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed"),
]


@pytest.fixture(scope="module")
def report(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    return write_report([read_run(str(run))], path, num_images=4)[1]


@pytest.fixture(params=["light", "dark", "phone"])
def page(request, report) -> Iterator:
    """The opened report, without a network; ends in an error if the browser logged anything."""
    sync_api = pytest.importorskip("playwright.sync_api")
    logged = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(
            offline=True,
            color_scheme="dark" if request.param == "dark" else "light",
            viewport={"width": 390 if request.param == "phone" else 1280, "height": 900},
        )
        page = context.new_page()
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.goto(report.as_uri())
        yield page
        browser.close()
    assert logged == []


def column(page, number: int, table: str = "#class-table") -> list[str]:
    """Texts of a column's cells in the rows that are shown."""
    rows = page.query_selector_all(f"{table} tbody tr")
    return [
        row.query_selector_all("th, td")[number].inner_text() for row in rows if row.is_visible()
    ]


def numbers(texts: list[str]) -> list[float]:
    return [float(text) for text in texts if text != "–"]  # noqa: RUF001


def test_it_fits_its_window_and_harmful_names_are_text(page):
    assert page.title() == "report_val: report"
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == page.viewport_size["width"]
    assert page.query_selector(f"text={json.dumps(HARMFUL)}") is not None


def test_classes_that_do_not_occur_can_be_hidden(page):
    every, images = column(page, 0), column(page, -1)
    assert ABSENT in every
    page.check("#only-present")
    assert column(page, 0) == [k for k, n in zip(every, images, strict=True) if n != "0"]
    assert ABSENT not in column(page, 0)
    page.uncheck("#only-present")
    assert column(page, 0) == every


def test_sorting(page):
    heading = page.query_selector("#class-table thead th:nth-child(3)")
    heading.query_selector("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    values = numbers(column(page, 2))
    assert values == sorted(values, reverse=True)
    heading.query_selector("button").press("Enter")  # by keyboard
    assert heading.get_attribute("aria-sort") == "ascending"
    texts = column(page, 2)
    assert numbers(texts) == sorted(values)
    assert numbers(texts[: len(values)]) == sorted(values)  # classes that do not occur stay last
    page.click("#class-table thead th:nth-child(1) button")
    assert column(page, 0)[0] == HARMFUL


def test_filtering_classes(page):
    page.fill("#class-filter", "stuff")
    assert set(column(page, 1)) == {"stuff"}
    page.fill("#class-filter", "方形")
    assert column(page, 0) == ["方形 \"'&"]
    page.fill("#class-filter", "nothing has this name")
    assert column(page, 0) == []
    assert page.is_visible("#no-class")


def shown_layer(card) -> str:
    (image,) = [i for i in card.query_selector_all("img") if i.get_attribute("hidden") is None]
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
    return image.get_attribute("data-layer")


def test_toggles_of_a_picture(page):
    first, second = page.query_selector_all(".card")[:2]
    assert shown_layer(first) == "prediction"
    first.query_selector("input[value=truth]").check()
    assert (shown_layer(first), shown_layer(second)) == ("truth", "prediction")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown_layer(first) == "errors"
    page.select_option("#layer", "image")
    assert (shown_layer(first), shown_layer(second)) == ("image", "image")


def test_from_a_class_to_its_pictures(page):
    row = page.query_selector("#class-table tbody tr:has(a)")
    name, link = row.query_selector("th").inner_text(), row.query_selector("a")
    link.click()
    assert page.input_value("#image-filter") == name
    assert page.evaluate("location.hash") == "#gallery"
    cards = [c for c in page.query_selector_all(".card") if c.is_visible()]
    assert 0 < len(cards) <= 4
    assert all(name in json.loads(card.get_attribute("data-classes")) for card in cards)
    page.select_option("#group", "worst")
    visible = [c for c in page.query_selector_all(".card") if c.is_visible()]
    assert all("worst" in card.get_attribute("data-groups") for card in visible)


def test_the_large_picture(page):
    page.query_selector(".picture").press("Enter")
    first = page.inner_text("#large-name")
    assert page.is_visible("#large-picture")
    page.keyboard.press("2")
    assert page.get_attribute("#large-picture", "alt").startswith("truth of ")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#large-name") != first
    assert page.get_attribute("#large-picture", "alt").startswith("truth of ")
    page.keyboard.press("Escape")
    assert not page.is_visible("#large-picture")

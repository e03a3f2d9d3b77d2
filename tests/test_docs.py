"""What README.md, docs/ and datasets/README.md mention exists: files, configs, commands, names."""

import importlib.util
import inspect
import re
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2_psformer import add_psformer_config
from d2_psformer.cli.main import COMMANDS
from d2_psformer.d2.config import get_cfg
from d2_psformer.model_zoo import list_configs
from d2_psformer.modeling import criterion, postprocessing

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "datasets" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
FOLDERS = "|".join(sorted({name.partition("/")[0] for name in list_configs()}))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """Fragments that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@every_page
def test_configs_exist(page):
    pattern = rf"(?<![\w/.-])(?:configs/)?((?:{FOLDERS})/[\w-]+)(?![\w/*-])"
    assert set(re.findall(pattern, page.read_text())) <= set(list_configs())


@every_page
def test_config_keys_exist(page):
    cfg = get_cfg()
    add_psformer_config(cfg)
    pattern = r"\b(?:MODEL|SOLVER|DATASETS|INPUT)\.[A-Z_.0-9]+\b"
    for key in set(re.findall(pattern, page.read_text())):
        node = cfg
        for part in key.split("."):
            assert part in node, key
            node = node[part]


@every_page
def test_commands_exist(page):
    text = page.read_text()
    for module, script in re.findall(r"\bpython\s+(?:-m\s+([\w.]+)|([\w/.]+\.py))", text):
        if module.startswith("d2_psformer"):
            assert importlib.util.find_spec(module), module
        assert not script or (ROOT / script).is_file(), script
    assert set(re.findall(r"\bpsformer ([a-z][a-z-]+) [-\w]", text)) <= set(COMMANDS)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)", text)) <= set(targets)


@every_page
def test_source_files_exist(page):
    files = [*ROOT.glob("*.py")]
    for name in ("d2_psformer", "datasets", "docs", "tests", "tools"):
        files += (ROOT / name).rglob("*.py")
    for name in re.findall(r"`([\w/]+\.py)`", page.read_text()):
        assert any(file.as_posix().endswith(f"/{name}") for file in files), name


@every_page
def test_named_arguments_exist(page):
    for name, argument in re.findall(r"`(\w+)\((\w+)=", page.read_text()):
        part = getattr(criterion, name, None) or getattr(postprocessing, name)
        assert argument in inspect.signature(part).parameters, f"{name}({argument})"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


def script_of(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_picture_of_the_architecture_is_what_its_script_draws():
    picture = script_of("draw_architecture").draw()
    assert (ROOT / "docs" / "architecture.svg").read_text() == picture
    assert xml.etree.ElementTree.fromstring(picture).tag.endswith("svg")


@pytest.mark.slow
def test_pictures_of_the_small_model_are_what_their_script_draws(tmp_path, monkeypatch):
    script = script_of("draw_pictures")
    monkeypatch.setattr(script, "DOCS", tmp_path)
    script.main()
    drawn = [*tmp_path.iterdir()]
    assert len(drawn) == 3
    for path in drawn:
        with Image.open(path) as new, Image.open(ROOT / "docs" / path.name) as old:
            assert new.size == old.size
            difference = np.abs(np.asarray(new, int) - np.asarray(old, int))
            assert difference.mean() < 2


def test_pictures_are_small():
    sizes = {p.name: p.stat().st_size for p in ROOT.glob("docs/*.*g") if p.suffix != ".svg"}
    assert sizes and max(sizes.values()) < 250_000

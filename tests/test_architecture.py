"""The shape of the package: which part may import which, who names Detectron2, who talks."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "d2_psformer"
FILES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of ours besides itself: one way only, so that there are no cycles.
FACADE = {"d2", "classes", "utils"}
MAY_IMPORT = {
    "__init__": {"config", "api"},
    "__main__": {"cli"},
    "api": FACADE | {"checkpoint", "config", "data", "engine", "model_zoo", "visualization"},
    "cli": FACADE
    | {"api", "checkpoint", "data", "engine", "evaluation", "export", "model_zoo", "report"}
    | {"visualization"},
    "config": {"d2", "utils"},
    "classes": {"utils"},
    "utils": set(),
    "model_zoo": {"utils"},
    "official_configs": {"utils"},
    "d2lite": {"utils"},
    "d2": {"d2lite", "utils"},
    "ops": {"utils"},
    "layers": {"ops", "utils"},
    "modeling": FACADE | {"layers", "ops"},
    "data": FACADE | {"deployment"},
    "deployment": set(),  # programs without torch read it
    "export": FACADE | {"checkpoint", "data", "deployment", "engine", "modeling", "ops"},
    "checkpoint": FACADE,
    "evaluation": FACADE | {"data"},
    "visualization": FACADE | {"data", "evaluation", "modeling", "layers", "ops"},
    "engine": FACADE
    | {"config", "data", "modeling", "evaluation", "checkpoint", "visualization", "model_zoo"}
    | {"official_configs", "ops"},
    "report": FACADE | {"config", "data", "engine", "evaluation", "visualization"},
}
PLAIN_TORCH = [
    *PACKAGE.glob("layers/*.py"),
    *PACKAGE.glob("ops/*.py"),
    PACKAGE / "modeling" / "outputs.py",
    *PACKAGE.glob("modeling/criterion/*.py"),
    *(path for path in PACKAGE.glob("modeling/postprocessing/*.py") if path.stem != "results"),
]
# Tables of keys, and the files of Panoptic SegFormer, which alone may read MODEL.PSFORMER.
PSFORMER = {PACKAGE / "config" / f"{name}.py" for name in ("architectures", "renamed", "values")}
PSFORMER |= {PACKAGE / "engine" / "unread_keys.py"}
PSFORMER |= set(PACKAGE.glob("modeling/meta_arch/*psformer*.py"))
PSFORMER |= set(PACKAGE.glob("modeling/meta_arch/panoptic_segformer*.py"))
SOURCES = ("*.py", "*.h", "*.cpp", "*.cu", "*.cuh", "*.sh")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Absolute names, in parts, of the modules that a file imports, inside functions too."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) - node.level + 1] if node.level else ()
            module = (*outer, *(node.module or "").split("."))
            yield from ((*filter(None, module), alias.name) for alias in node.names)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_has_its_place():
    assert {part(path) for path in FILES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_point_one_way(path):
    ours = {parts[1] for parts in imports(path) if parts[0] == "d2_psformer"}
    assert ours <= MAY_IMPORT[part(path)] | {part(path)}


def test_only_the_facade_imports_detectron2():
    naming = {part(path) for path in FILES if any(p[0] == "detectron2" for p in imports(path))}
    assert naming == {"d2"}


@pytest.mark.parametrize("path", PLAIN_TORCH, ids=name)
def test_layers_ops_criterion_and_postprocessing_are_plain_torch(path):
    forbidden = ("d2_psformer", "d2"), ("d2_psformer", "d2lite")
    assert not [parts for parts in imports(path) if parts[:2] in forbidden]


def test_no_file_imports_itself_by_way_of_others():
    files = {path.relative_to(ROOT).with_suffix("").parts: path for path in FILES}
    files |= {parts[:-1]: path for parts, path in files.items() if parts[-1] == "__init__"}

    def imported(parts: tuple[str, ...]) -> Path | None:
        """The file of the longest beginning of a name that is a module."""
        beginnings = (parts[:n] for n in range(len(parts), 1, -1))
        return next((files[start] for start in beginnings if start in files), None)

    graph = {path: {imported(parts) for parts in imports(path)} - {None, path} for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(map(name, error.args[1])))


def test_only_panoptic_segformers_files_name_its_config_node():
    assert len(PSFORMER) == 7
    others = set(FILES) - PSFORMER
    assert not [name(path) for path in others if re.search(r"\.PSFORMER\b", path.read_text())]


def test_files_are_short():
    folders = [PACKAGE, ROOT / "tools", ROOT / "datasets"]
    files = [*ROOT.glob("*.py"), *(x for f in folders for kind in SOURCES for x in f.rglob(kind))]
    lengths = {name(path): len(path.read_text().splitlines()) for path in files}
    assert len(lengths) > 100
    assert not {path: length for path, length in lengths.items() if length > 300}


def test_test_files_have_names_of_their_own():
    """pytest imports them by their names alone."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_only_commands_print():
    calls = [
        f"{name(path)}:{node.lineno}"
        for path in FILES
        if part(path) != "cli"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert not calls


def test_architectures_stand_above_the_rest_of_modeling():
    below = [path for path in PACKAGE.glob("modeling/*/*.py") if path.parent.name != "meta_arch"]
    below += [path for path in PACKAGE.glob("modeling/*.py") if path.name != "__init__.py"]
    assert not [path for path in below if any("meta_arch" in parts for parts in imports(path))]


def run(code: str, backend: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "D2_PSFORMER_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"import sys\n{code}"]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def test_with_d2lite_nobody_is_made_to_believe_that_detectron2_is_there():
    done = run(
        "import d2_psformer.modeling, d2_psformer.engine\n"
        "sys.stdout.write(str([name for name in sys.modules if name.startswith('detectron2')]))",
        backend="d2lite",
    )
    assert done.stdout == "[]", done.stderr


@pytest.mark.parametrize("forced", ["", "d2lite"])
def test_the_environment_chooses_the_backend(forced):
    done = run("from d2_psformer.d2 import BACKEND\nsys.stdout.write(BACKEND)", forced)
    found = "detectron2" if importlib.util.find_spec("detectron2") else "d2lite"
    assert done.stdout == (forced or found), done.stderr


def test_an_unknown_backend_is_told():
    done = run("import d2_psformer.d2", "lite")
    assert done.returncode == 1
    assert "D2_PSFORMER_BACKEND is 'lite'" in done.stderr

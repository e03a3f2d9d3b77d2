"""The façade lists the names that the package uses, and the backend has them all."""

import ast
import importlib
from pathlib import Path

import pytest

from d2_psformer import d2
from d2_psformer.d2 import from_backend

FOLDER = Path(d2.__file__).parent
ROOT = FOLDER.parents[1]
USERS = [ROOT / "train_net.py", ROOT / "demo.py", *(ROOT / "d2_psformer").rglob("*.py")]
FOR_ARCHITECTURES_TO_COME = {"register_coco_instances"}


def declared(path: Path) -> set[str]:
    """Names that a module of the façade imports for type checkers."""
    blocks = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names}


def used(module: str) -> set[str]:
    """Names that the package and its commands import from a module of the façade."""
    nodes = [node for path in USERS for node in ast.walk(ast.parse(path.read_text()))]
    return {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and f".{node.module or ''}".endswith(f".d2.{module}")
        for alias in node.names
    }


MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("module", MODULES)
def test_the_backend_has_every_declared_name(module):
    facade = importlib.import_module(f"d2_psformer.d2.{module}")
    assert [name for name in declared(FOLDER / f"{module}.py") if not hasattr(facade, name)] == []


@pytest.mark.parametrize("module", MODULES)
def test_the_names_are_those_that_the_package_uses(module):
    assert used(module) == declared(FOLDER / f"{module}.py") - FOR_ARCHITECTURES_TO_COME


def test_an_unknown_name_is_refused():
    with pytest.raises(ImportError, match="NoSuchName"):
        from d2_psformer.d2.structures import NoSuchName  # noqa: F401
    with pytest.raises(AttributeError, match=r"NoSuchName.*solver"):
        from_backend("solver")("NoSuchName")

"""The façade of Detectron2: the only part of the package that imports it.

The modules here re-export the names of Detectron2 that this project uses: Detectron2's own where
it is installed, else those of :mod:`d2_psformer.d2lite`. The choice is made once per process;
``D2_PSFORMER_BACKEND=detectron2|d2lite`` forces it.

Each module lists its names once, as imports for type checkers, which see d2lite's definitions;
at run time :func:`from_backend` finds the same names in the chosen backend.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from typing import Any

from ..utils.errors import UserError

_PACKAGES = {"detectron2": "detectron2", "d2lite": "d2_psformer.d2lite"}


def _choose_backend() -> str:
    forced = os.environ.get("D2_PSFORMER_BACKEND", "")
    if forced and forced not in _PACKAGES:
        raise UserError(
            f"D2_PSFORMER_BACKEND is '{forced}': set it to {' or '.join(_PACKAGES)}, or unset it."
        )
    installed = importlib.util.find_spec("detectron2") is not None
    if forced == "detectron2" and not installed:
        raise UserError(
            "D2_PSFORMER_BACKEND=detectron2, but Detectron2 is not installed: install it "
            "(https://detectron2.readthedocs.io/tutorials/install.html) or unset the variable."
        )
    return forced or ("detectron2" if installed else "d2lite")


BACKEND = _choose_backend()


def from_backend(*modules: str) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds names in, or the last names of, backend modules."""

    def find(name: str) -> Any:
        for module in modules:
            found = importlib.import_module(f"{_PACKAGES[BACKEND]}.{module}")
            if module.endswith(f".{name}"):
                return found
            if hasattr(found, name):
                return getattr(found, name)
        raise AttributeError(f"The backend {BACKEND} has no '{name}' in {', '.join(modules)}.")

    return find

"""The only place that names Detectron2.

``d2_psformer.d2`` hands on the names of Detectron2 that this project uses: the real ones where
Detectron2 is installed, else those of :mod:`d2_psformer.d2lite`. The choice is made once per
process; ``D2_PSFORMER_BACKEND=detectron2|d2lite`` forces it.
"""

import importlib.util
import os

_CHOICES = ("detectron2", "d2lite")


def _choose_backend() -> str:
    forced = os.environ.get("D2_PSFORMER_BACKEND", "")
    if forced and forced not in _CHOICES:
        raise ValueError(
            f"D2_PSFORMER_BACKEND is '{forced}': set it to {' or '.join(_CHOICES)}, or unset it."
        )
    installed = importlib.util.find_spec("detectron2") is not None
    if forced == "detectron2" and not installed:
        raise ImportError(
            "D2_PSFORMER_BACKEND=detectron2, but Detectron2 is not installed: install it "
            "(https://detectron2.readthedocs.io/tutorials/install.html) or unset the variable."
        )
    return forced or ("detectron2" if installed else "d2lite")


BACKEND = _choose_backend()

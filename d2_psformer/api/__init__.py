"""The Python API: load, train, evaluate and share models; predict with them.

Everything here is an attribute of the package too: ``d2_psformer.load``.
"""

from ..data.described_segments import Segment
from .evaluation import evaluate
from .failures import FailedImagesError
from .loading import load
from .model import Model
from .pushing import push
from .result import Instance, PanopticResult
from .training import train

__all__ = [
    "FailedImagesError",
    "Instance",
    "Model",
    "PanopticResult",
    "Segment",
    "evaluate",
    "load",
    "push",
    "train",
]

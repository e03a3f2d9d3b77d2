"""One path manager for local files and URLs."""

from iopath.common.file_io import HTTPURLHandler, PathHandler
from iopath.common.file_io import PathManager as PathManagerBase

__all__ = ["PathHandler", "PathManager"]

# One of its own: handlers registered here stay out of other libraries' way.
PathManager = PathManagerBase()
PathManager.register_handler(HTTPURLHandler())

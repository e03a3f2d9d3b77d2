"""What commands share: how they end on errors, and options.

Nothing here imports torch, so that a command answers --help and wrong arguments at once.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError, is_user_error, sentence_of

_SHOW_ALL = "D2_PSFORMER_TRACEBACK"


@contextmanager
def report_user_errors() -> Iterator[None]:
    """End the process with "<command>: <sentence>" and status 1 if a user can fix the error.

    Ctrl-C ends it with status 130. This works as a decorator too. ``D2_PSFORMER_TRACEBACK=1`` shows
    the traceback instead.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, OSError) as error:
        if not is_user_error(error) or os.environ.get(_SHOW_ALL) == "1":
            raise
        path = Path(sys.argv[0])
        command = path.parent.name if path.name == "__main__.py" else path.name
        sys.exit(f"{command}: {sentence_of(error)}\n({_SHOW_ALL}=1 shows the traceback.)")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--data`` and KEY VALUE pairs: ``config_file``, ``data``, ``opts``."""
    add = parser.add_argument
    add(
        "--config",
        "--config-file",
        dest="config_file",
        metavar="CONFIG",
        help="YAML file, name that `psformer models` lists, or checkpoint with its config inside",
    )
    add("--data", metavar="YAML_OR_DIR", help="data.yaml of your data set, or the folder it is in")
    add("opts", nargs=argparse.REMAINDER, help="settings at the very end: KEY VALUE KEY VALUE ...")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``: the number of processes, at least 0."""

    def number(text: str) -> int:
        if not text.isdecimal():
            raise argparse.ArgumentTypeError(f"'{text}' is no number: give 0 or more")
        return int(text)

    parser.add_argument(
        "--workers",
        type=number,
        default=os.cpu_count(),
        metavar="N",
        help="processes (all cores); 0: none beside this one",
    )


def parse_preparation(description: str, folder: str) -> argparse.Namespace:
    """Parse the command line of ``datasets/prepare_*.py``: --root, --splits, --workers, --force.

    Args:
        folder: of the benchmark under ``$DETECTRON2_DATASETS``, for the help.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help=f"where the download is unpacked (default: $DETECTRON2_DATASETS/{folder})",
    )
    splits = ("train", "val")
    parser.add_argument("--splits", nargs="+", choices=splits, default=splits, help="which (all)")
    add_workers(parser)
    parser.add_argument("--force", action="store_true", help="make splits that are there again")
    return parser.parse_args()

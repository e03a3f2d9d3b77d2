"""The command ``psformer SUBCOMMAND``, also ``python -m d2_psformer SUBCOMMAND``.

A subcommand is a module of this package that has ``SUMMARY`` (one line), ``EPILOG`` (examples),
``add_arguments(parser)`` and ``run(args)``, which returns the exit status (None is 0). A module
imports torch inside ``run`` alone, so that --help and wrong arguments are answered at once.
"""

import argparse
import importlib
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from ..utils.commands import report_user_errors

COMMANDS = (
    "train",
    "predict",
    "evaluate",
    "check",
    "convert-data",
    "convert-weights",
    "export",
    "report",
    "models",
)


def main(arguments: list[str] | None = None) -> int:
    """Run ``psformer`` with these arguments (default: of the command line)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COMMANDS:
        return run_command(arguments[0], arguments[1:])
    _overview().parse_args(arguments or ["--help"])  # ends the process
    return 0


@report_user_errors()
def run_command(name: str, arguments: list[str], prog: str | None = None) -> int:
    """Run one subcommand.

    Args:
        prog: how the help names the command; default ``psformer NAME``.

    Returns:
        The exit status.
    """
    command = _load(name)
    parser = argparse.ArgumentParser(
        prog=prog or f"psformer {name}",
        description=command.SUMMARY,
        epilog=command.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments)) or 0


def _load(name: str) -> ModuleType:
    return importlib.import_module(f".{name.replace('-', '_')}", __package__)


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="psformer", description="Panoptic, instance and semantic segmentation."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(metavar="SUBCOMMAND", help="--help after each says more")
    for name in COMMANDS:
        commands.add_parser(name, help=_load(name).SUMMARY)
    return parser


def _version() -> str:
    try:
        return f"psformer {version('d2_psformer')}"
    except PackageNotFoundError:  # a checkout that is not installed
        return "psformer, not installed"


if __name__ == "__main__":
    sys.exit(main())

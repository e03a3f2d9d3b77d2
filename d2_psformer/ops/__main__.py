"""What serves multi-scale deformable attention here: ``python -m d2_psformer.ops [build]``."""

import argparse
import logging
import sys

import torch

from . import backends, build, selfcheck


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.ops",
        description="Show which kernels are there, compare them with plain PyTorch and time them. "
        "Ends with status 1 if one of them is wrong.",
    )
    commands = parser.add_subparsers(dest="command", metavar="build")
    compiling = commands.add_parser(
        "build",
        help="compile kernels now",
        description="Compile kernels now. Ends with status 1 if one that is named cannot be "
        "compiled, or none can.",
    )
    compiling.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(build.LIBRARIES)} (default: all)"
    )
    compiling.add_argument("--verbose", action="store_true", help="show the compilers' commands")
    options = parser.parse_args(arguments)
    unknown = set(getattr(options, "names", ())) - set(build.LIBRARIES)
    if unknown:
        compiling.error(f"no kernel is called {', '.join(sorted(unknown))}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.command == "build":
        return compile_kernels(options.names, options.verbose)
    for line in (*described_libraries(), "", *described_backends(), ""):
        sys.stdout.write(line + "\n")
    return check_backends()


def compile_kernels(names: list[str], verbose: bool) -> int:
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    entries = build.build(names or build.LIBRARIES)
    for name, entry in entries.items():
        sys.stdout.write(f"{name}: {described_library(entry)}\n")
        if entry["output"]:
            sys.stdout.write(entry["output"] + "\n")
    built = [entry["built"] for entry in entries.values()]
    return 0 if (all(built) if names else any(built)) else 1


def described_libraries() -> list[str]:
    """The build record in lines."""
    record = build.record()
    lines = ["Compiled kernels"]
    for name in build.LIBRARIES:
        entry = record.get(name)
        told = described_library(entry) if entry else build.why_missing(name)
        lines.append(f"  {name:8s} {told}")
        if entry and build.is_outdated(name):
            mend = f"`python -m d2_psformer.ops build {name}`"
            lines.append(f"  {'':8s} Its sources have changed since: {mend} compiles them.")
    return lines


def described_library(entry: dict) -> str:
    if not entry["built"]:
        return f"left out. {entry['reason']}"
    return f"{', '.join(entry['targets'])} ({entry['version']}; {entry['seconds']:.0f} s)"


def described_backends() -> list[str]:
    """What can be used, and why the rest cannot."""
    lines = ["Backends"]
    for name in backends.NAMES:
        reason = backends.unavailable(name)
        told = f"not there. {reason}" if reason else "available"
        if name == "cpu" and reason is None:
            told += f", on this processor with {backends.module(name).isa_in_use()}"
        lines.append(f"  {name:8s} {told}")
    return lines


def check_backends() -> int:
    """Compare and time what is available on every device; 1 if something is wrong."""
    threads = torch.get_num_threads()
    sys.stdout.write(
        f"Self-check: fused, float32, {len(selfcheck.MODERATE)} levels of a 480 x 640 image, "
        f"{threads} CPU thread{'s' * (threads > 1)}; milliseconds (times faster than pytorch)\n"
    )
    failed = False
    for device, names in backends.FOR_DEVICE.items():
        if device == "cuda" and not torch.cuda.is_available():
            continue
        base = selfcheck.milliseconds("pytorch", device)
        sys.stdout.write(_row(device, "pytorch", base, base, "the reference"))
        for name in names:
            if backends.unavailable(name) is not None:
                continue
            try:
                difference = selfcheck.largest_difference(name, device)
                times = selfcheck.milliseconds(name, device)
            except RuntimeError as error:
                sys.stdout.write(f"  {device:5s} {name:8s} FAILED: {error}\n")
                failed = True
                continue
            wrong = difference > selfcheck.LARGEST_DIFFERENCE
            failed |= wrong
            told = f"{'WRONG: ' if wrong else ''}differs by {difference:.1e}"
            sys.stdout.write(_row(device, name, times, base, told))
    return int(failed)


def _row(
    device: str, name: str, times: tuple[float, float], base: tuple[float, float], told: str
) -> str:
    both = zip(("forward", "with backward"), times, base, strict=True)
    columns = [f"{what} {mine:7.2f} ({theirs / mine:5.1f}x)" for what, mine, theirs in both]
    return f"  {device:5s} {name:8s} {'  '.join(columns)}  {told}\n"


if __name__ == "__main__":
    sys.exit(main())

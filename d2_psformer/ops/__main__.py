"""Kernels of multi-scale deformable attention on this machine: ``python -m d2_psformer.ops``."""

import argparse
import logging
import sys

from . import build


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m d2_psformer.ops",
        description="Show which kernels there are, compare them with plain PyTorch and time them. "
        "Ends with status 1 if one of them is wrong.",
    )
    commands = parser.add_subparsers(dest="command", metavar="build")
    compiling = commands.add_parser(
        "build",
        help="compile kernels now",
        description="Compile kernels now. Ends with status 1 if one that is named cannot be "
        "compiled, or none can.",
    )
    names = ", ".join(build.LIBRARIES)
    default = "default: cpu, and cuda where an NVIDIA GPU is"
    compiling.add_argument("names", nargs="*", metavar="NAME", help=f"of {names} ({default})")
    options = parser.parse_args(arguments)
    for name in getattr(options, "names", ()):
        if name not in build.LIBRARIES:
            compiling.error(f"no kernel is called {name}: choose from {names}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    if options.command == "build":
        return compile_kernels(options.names)
    _write("Compiled kernels", *library_lines(), "", "Backends", *backend_lines(), "")
    return check_backends()


def compile_kernels(names: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    chosen = names or build.useful_here()
    entries = build.build(chosen)
    for name, entry in entries.items():
        _write(f"{name}: {library_in_words(entry)}", *entry["output"].splitlines())
    if "cuda" not in chosen and not names:
        _write("cuda: left out, as no NVIDIA GPU was found. `build cuda` compiles it all the same.")
    built = [entry["built"] for entry in entries.values()]
    return 0 if (all(built) if names else any(built)) else 1


def library_lines() -> list[str]:
    """The build record."""
    record, lines = build.record(), []
    for name in build.LIBRARIES:
        entry = record.get(name)
        lines.append(f"  {name:8s} {library_in_words(entry) if entry else build.why_missing(name)}")
        if build.is_outdated(name):
            command = f"`python -m d2_psformer.ops build {name}`"
            lines.append(f"  {'':8s} Its sources have changed since: {command} compiles them.")
    return lines


def library_in_words(entry: dict) -> str:
    if not entry["built"]:
        return f"left out. {entry['reason']}"
    return f"{', '.join(entry['targets'])} ({entry['version']}; {entry['seconds']:.0f} s)"


def backend_lines() -> list[str]:
    """What can be used, and why the rest cannot."""
    from . import backends

    lines = []
    for name in backends.NAMES:
        reason = backends.unavailable(name)
        status = f"not available. {reason}" if reason else "available"
        if name == "cpu" and reason is None:
            status += f", on this processor with {backends.module(name).isa_in_use()}"
        lines.append(f"  {name:8s} {status}")
    return lines


def check_backends() -> int:
    """Compare and time what is available on every device; 1 if something is wrong."""
    import torch

    from . import backends, selfcheck

    _write(
        f"Self-check: fused, float32, {len(selfcheck.MODERATE)} levels of a 480 x 640 image, "
        f"CPU threads: {torch.get_num_threads()}"
    )
    failed = False
    for device, names in backends.FOR_DEVICE.items():
        if device == "cuda" and not torch.cuda.is_available():
            continue
        for name in ("pytorch", *(n for n in names if backends.unavailable(n) is None)):
            try:
                difference = selfcheck.largest_difference(name, device)
                forward, both = selfcheck.milliseconds(name, device)
                wrong = difference > selfcheck.LARGEST_DIFFERENCE
                verdict = (
                    f"forward {forward:.1f} ms, with backward {both:.1f} ms, "
                    f"{'WRONG: ' if wrong else ''}differs by {difference:.1e}"
                )
            except RuntimeError as error:
                wrong, verdict = True, f"FAILED: {error}"
            failed |= wrong
            _write(f"  {device:5s} {name:8s} {verdict}")
    return int(failed)


def _write(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())

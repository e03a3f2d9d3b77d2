"""Compiles the kernel libraries and records what was built or left out, and why.

The libraries need no headers of torch or Python: they compile in seconds, inside an isolated
``pip install`` too, and fit every torch. Nothing here imports torch.
"""

import hashlib
import json
import logging
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

from .compilers import SOURCES, CannotBuildError, Recipe, cpu_recipe, cuda_recipe, sees_gpu

LIBRARIES = {"cpu": cpu_recipe, "cuda": cuda_recipe}
BESIDE_SOURCES = Path(__file__).parent / "lib"
FILE, RECORD = "libpsformer_{}.so", "build_record.json"
SHOWN_LINES = 20
logger = logging.getLogger(__name__)


def build(names: Iterable[str], folder: Path | None = None) -> dict[str, dict]:
    """Compile libraries, and record each as soon as it is finished, the reason of a failure too.

    Args:
        names: keys of ``LIBRARIES``.
        folder: where to; None: beside the sources, or in the user's cache if that is read-only.

    Returns:
        the record's entry of every name.
    """
    folder = _writable_folder() if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name in names:
        entries[name] = _build_one(name, folder)
        _write_record(folder, {name: entries[name]})
    return entries


def useful_here() -> list[str]:
    """Libraries that this machine has a use for; FORCE_CUDA=1 adds that for CUDA."""
    return ["cpu", "cuda"] if os.environ.get("FORCE_CUDA") == "1" or sees_gpu() else ["cpu"]


def build_at_install(folder: Path) -> dict[str, dict]:
    """What an install compiles: nothing if D2_PSFORMER_NO_EXT=1, else what has a use here."""
    chosen, reason = useful_here(), "The install saw no NVIDIA GPU (FORCE_CUDA=1 compiles anyway)."
    if os.environ.get("D2_PSFORMER_NO_EXT") == "1":
        chosen, reason = [], "D2_PSFORMER_NO_EXT=1 was set at the install."
    entries = build(chosen, folder)
    skipped = {name: _entry(name, reason=reason) for name in LIBRARIES if name not in chosen}
    _write_record(folder, skipped)
    return entries | skipped


def library_path(name: str) -> Path | None:
    """Where the library lies, None if it was not built."""
    return _find(name)[0]


def record() -> dict[str, dict]:
    """What was built or left out, by name; see :func:`_entry`. Empty if it was never tried."""
    return {name: entry for name in LIBRARIES if (entry := _find(name)[1])}


def why_missing(name: str) -> str:
    """Why there is no library and what to do about it, in sentences."""
    entry = record().get(name, {"reason": "It has not been compiled."})
    reason = entry["reason"] or "The compiled library was removed."
    return f"{reason} `python -m d2_psformer.ops build {name}` compiles it."


def is_outdated(name: str) -> bool:
    """Whether the sources have changed since the library was built from them."""
    entry = record().get(name)
    return entry is not None and entry["built"] and entry["sources"] != _fingerprint(name)


def _build_one(name: str, folder: Path) -> dict:
    start, recipe, output = time.perf_counter(), None, ""
    try:
        recipe = LIBRARIES[name]()
        if not recipe.units:
            raise CannotBuildError(f"There are no sources of {name} in {SOURCES}.")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".build_") as workplace:
            built = _compile(name, recipe, Path(workplace))
            # Whole or not at all, also when two builds run at once or the old one is in use.
            os.replace(built, folder / FILE.format(name))
        reason = ""
    except CannotBuildError as error:
        reason, _, output = str(error).partition("\n")
    except OSError as error:
        reason = f"{type(error).__name__}: {error}."
    return _entry(name, recipe, reason, output, time.perf_counter() - start)


def _compile(name: str, recipe: Recipe, workplace: Path) -> Path:
    """Compile every source in a process of its own, then link; returns the library."""
    logger.info("%s: compiling for %s", name, ", ".join(recipe.targets))
    start = time.perf_counter()
    library = workplace / "library.so"
    objects = [str(workplace / f"{i}.o") for i in range(len(recipe.units))]
    commands = [
        [*recipe.compiler, *recipe.flags, *own, "-c", str(source), "-o", target]
        for (source, own), target in zip(recipe.units, objects, strict=True)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(_run, commands), 1):
            seconds = time.perf_counter() - start
            logger.info("%s: %d of %d parts, %.0f s", name, done, len(commands), seconds)
    _run([*recipe.compiler, "-shared", *objects, "-o", str(library), *recipe.link])
    return library


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        errors = [line for line in lines if "error" in line] or lines[-1:] or ["no message"]
        raise CannotBuildError(
            f"{Path(command[0]).name} ended with status {done.returncode}: {errors[0].strip()}.\n"
            + "\n".join(lines[-SHOWN_LINES:])
        )


def _entry(
    name: str, recipe: Recipe | None = None, reason: str = "", output: str = "", seconds=0.0
) -> dict:
    return {
        "built": not reason,
        "reason": reason,
        "compiler": recipe and shlex.join(recipe.compiler),
        "version": recipe and recipe.version,
        "flags": recipe and shlex.join(recipe.flags + recipe.link),
        "targets": recipe.targets if recipe else [],
        "seconds": round(seconds, 1),
        "output": output,
        "sources": _fingerprint(name),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _fingerprint(name: str) -> str:
    """Hash of the sources of a library: the files of csrc that do not belong to another one."""
    digest = hashlib.sha256()
    others = tuple(f"{other}_" for other in LIBRARIES if other != name)
    for path in sorted(SOURCES.glob("*")):
        if not path.name.startswith(others):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _user_folder() -> Path:
    """For packages that lie read-only; one folder for each state of the sources."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(cache, "d2_psformer", "-".join(map(_fingerprint, LIBRARIES)))


def _find(name: str) -> tuple[Path | None, dict | None]:
    """The first library that its record calls built, with its entry, else the first entry."""
    found = []
    for folder in (BESIDE_SOURCES, _user_folder()):
        if entry := _read_record(folder).get(name):
            path = folder / FILE.format(name)
            if entry["built"] and path.is_file():
                return path, entry
            found.append(entry)
    return None, found[0] if found else None


def _writable_folder() -> Path:
    nearest = BESIDE_SOURCES if BESIDE_SOURCES.exists() else BESIDE_SOURCES.parent
    return BESIDE_SOURCES if os.access(nearest, os.W_OK) else _user_folder()


def _read_record(folder: Path) -> dict[str, dict]:
    try:
        return json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}  # no record, or half of one: as if nothing had been built


def _write_record(folder: Path, entries: dict[str, dict]) -> None:
    entries = _read_record(folder) | entries
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        json.dump(entries, file, indent=2)
    os.chmod(file.name, 0o644)
    os.replace(file.name, folder / RECORD)

"""Compiler and flags of each kernel library. Needs no torch: installs use it."""

import os
import platform
import re
import shlex
import shutil
import site
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
# No fast-math, which would break the rules of NaN; only multiplications and additions are fused.
CPU_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-ffp-contract=fast"]
_AVX2 = ["-mavx2", "-mfma", "-mf16c"]
_AVX512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
CPU_TARGETS = {"generic": [], "avx2": _AVX2, "avx512": [*_AVX2, *_AVX512]}
CUDA_FLAGS = ["-std=c++17", "-O3", "-Xcompiler=-fPIC"]
OLDEST_GPU = 70  # compute capability times ten


class CannotBuildError(Exception):
    """One sentence that says what is missing and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How to compile and link one library.

    Attributes:
        compiler: the command, usually one word.
        version: what it calls itself.
        targets: instruction sets or GPU architectures in the library.
        flags: of every source.
        units: sources with the flags of their own.
        link: flags that follow the objects.
    """

    compiler: list[str]
    version: str
    targets: list[str]
    flags: list[str]
    units: list[tuple[Path, list[str]]]
    link: list[str] = field(default_factory=list)


def cpu_recipe() -> Recipe:
    """Every source once for each instruction set, except cpu_dispatch.cpp, which chooses one.

    Where possible the library is linked without an OpenMP runtime: it then uses the one that torch
    has loaded, and with it torch's threads.
    """
    compiler = _find_cpp_compiler()
    version = _first_line([*compiler, "--version"])
    is_x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    targets = CPU_TARGETS if is_x86 else {"generic": []}
    units = []
    for source in sorted(SOURCES.glob("cpu_*.cpp")):
        if source.stem == "cpu_dispatch":
            units.append((source, []))
        else:
            units += [(source, [f"-DPSFORMER_ISA={isa}", *own]) for isa, own in targets.items()]
    flags, link = list(CPU_FLAGS), []
    program = "#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }"
    if _succeeds([*compiler, "-fopenmp"], ".cpp", program):
        flags.append("-fopenmp")
        link = ["-fopenmp"] if "clang" in version else []
    return Recipe(compiler, version, list(targets), flags, units, link)


def cuda_recipe() -> Recipe:
    """Machine code for every architecture that nvcc knows, and PTX of the newest for later ones.

    ``TORCH_CUDA_ARCH_LIST`` (as "8.0 9.0+PTX") chooses others.
    """
    nvcc = _find_nvcc()
    version = _first_line([nvcc, "--version"], containing="release")
    chosen = os.environ.get("TORCH_CUDA_ARCH_LIST")
    targets = _chosen_architectures(chosen) if chosen else _known_architectures(nvcc)
    codes = (f"-gencode=arch=compute_{t.partition('_')[2]},code={t}" for t in targets)
    flags = [*CUDA_FLAGS, f"--threads={os.cpu_count() or 1}", *codes]
    headers = "#include <cuda_runtime.h>\n#include <cuda_bf16.h>\n"
    folders = [] if _succeeds([nvcc, "-E"], ".cu", headers) else _cuda_folders_of_wheels()
    flags += [f"-I{folder}" for folder in folders if folder.name == "include"]
    release = re.search(r"release (\d+)", version)
    if release and int(release[1]) >= 13:  # every driver for these can unpack it
        flags.append("--compress-mode=size")  # a ninth of the size
    link = ["-cudart=static", *(f"-L{folder}" for folder in folders if folder.name == "lib")]
    units = [(source, []) for source in sorted(SOURCES.glob("cuda_*.cu"))]
    return Recipe([nvcc], version, targets, flags, units, link)


def sees_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, without torch."""
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and "GPU" in _output([tool, "-L"])


def _find_cpp_compiler() -> list[str]:
    if os.environ.get("CXX"):
        return shlex.split(os.environ["CXX"])
    for name in ("g++", "c++", "clang++"):
        if found := shutil.which(name):
            return [found]
    raise CannotBuildError(
        "No C++ compiler was found: neither $CXX nor g++, c++ or clang++ on the PATH."
    )


def _succeeds(command: list[str], suffix: str, program: str) -> bool:
    """Whether a compiler accepts a program."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"probe{suffix}")
        source.write_text(program)
        words = [*command, str(source), "-o", str(source.with_suffix(".out"))]
        return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _find_nvcc() -> str:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    candidates = [Path(home, "bin", "nvcc") for home in homes if home]
    candidates += [Path(path) for path in [shutil.which("nvcc")] if path]
    candidates.append(Path("/usr/local/cuda/bin/nvcc"))
    for folder in _nvidia_wheels():
        candidates += sorted(folder.glob("*/bin/nvcc"))
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise CannotBuildError(
        "No nvcc was found: neither in CUDA_HOME nor on the PATH nor as a wheel "
        "(`pip install nvidia-cuda-nvcc`)."
    )


def _known_architectures(nvcc: str) -> list[str]:
    numbers = {int(n) for n in re.findall(r"\bsm_(\d+)\b", _output([nvcc, "--list-gpu-code"]))}
    numbers = sorted(number for number in numbers if number >= OLDEST_GPU)
    if not numbers:
        raise CannotBuildError(f"{nvcc} is too old: it does not list the GPUs it compiles for.")
    return [*(f"sm_{number}" for number in numbers), f"compute_{numbers[-1]}"]


def _chosen_architectures(listed: str) -> list[str]:
    targets = []
    for word in re.split(r"[\s;,]+", listed.strip()):
        match = re.fullmatch(r"(\d+)\.(\d[af]?)(\+PTX)?", word)
        if match is None:
            raise CannotBuildError(
                f"TORCH_CUDA_ARCH_LIST is {listed!r}; numbers as in '8.0 9.0+PTX' were expected."
            )
        number = match[1] + match[2]
        targets += [f"sm_{number}"] + [f"compute_{number}"] * bool(match[3])
    return targets


def _nvidia_wheels() -> list[Path]:
    """The folders site-packages/nvidia, where wheels such as torch's put CUDA."""
    roots = dict.fromkeys([*sys.path, *site.getsitepackages()])
    return [folder for root in roots if root and (folder := Path(root, "nvidia")).is_dir()]


def _cuda_folders_of_wheels() -> list[Path]:
    """Folders "include" and "lib" of CUDA's own wheels (cu13, or cuda_runtime and so on)."""
    parts = [part for folder in _nvidia_wheels() for part in sorted(folder.glob("cu*"))]
    names = ("include", "lib")
    return [part / name for part in parts for name in names if (part / name).is_dir()]


def _first_line(command: list[str], containing: str = "") -> str:
    lines = [line for line in _output(command).splitlines() if containing in line]
    return lines[0].strip() if lines else "unknown"


def _output(command: list[str]) -> str:
    """What a command prints, empty where it cannot run."""
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout
    except OSError:
        return ""

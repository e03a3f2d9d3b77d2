"""Sources that compile in a moment in place of the kernels, and compilers for tests."""

import stat
from pathlib import Path

DISPATCH = """
extern "C" int psformer_abi_version(void) { return %(abi)d; }
extern "C" int psformer_problem_size(void) { return 1; }
"""
KERNEL = """
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
extern "C" int JOIN(psformer_tiny_, PSFORMER_ISA)(void) { return sizeof(int); }
"""
NVCC = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
  --version) echo "Cuda compilation tools, release 99.9" ;;
  --list-gpu-code) echo "sm_60 sm_70 sm_86 sm_120"; exit ;;
  *-E*) exit {headers} ;;
  *) while [ "$1" != -o ]; do shift; done; echo compiled > "$2" ;;
esac
"""


def write_sources(folder: Path, abi: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu_dispatch.cpp").write_text(DISPATCH % {"abi": abi})
    (folder / "cpu_kernel.cpp").write_text(KERNEL)
    (folder / "cuda_kernel.cu").write_text("__global__ void nothing() {}\n")
    return folder


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def failing_compiler(folder: Path) -> Path:
    text = '#!/bin/sh\necho "kernel.cpp:7: error: this is no C++"\necho "1 error"\nexit 3\n'
    return write_program(folder / "failing-c++", text)


def pretended_nvcc(folder: Path, finds_headers: bool = True) -> Path:
    """Writes "compiled" where an object should be, and its arguments to nvcc.log."""
    return write_program(folder / "bin" / "nvcc", NVCC.format(headers=int(not finds_headers)))

"""Compiling the kernels with, without and with broken compilers; the record; the command."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_sources import failing_compiler, pretended_nvcc, write_sources

from d2_psformer.ops import __main__ as command
from d2_psformer.ops import backends, build, compilers, cpu_kernel, library, selfcheck

HAS_COMPILER = any(shutil.which(name) for name in ("g++", "c++", "clang++"))
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler here")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where libraries go; nothing of this machine's own installation is seen."""
    sources = write_sources(tmp_path / "csrc")
    monkeypatch.setattr(build, "SOURCES", sources)
    monkeypatch.setattr(compilers, "SOURCES", sources)
    monkeypatch.setattr(build, "BESIDE_SOURCES", tmp_path / "lib")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("CXX", "CUDA_HOME", "CUDA_PATH", "FORCE_CUDA", "D2_PSFORMER_NO_EXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    caches = backends.unavailable, library.load
    for cache in caches:
        cache.cache_clear()
    yield tmp_path / "lib"
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def no_tools(monkeypatch):
    """A machine without compilers and without a GPU."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(build, "sees_gpu", lambda: False)


@pytest.fixture
def nvcc(tmp_path, monkeypatch):
    """A pretended one, in CUDA_HOME; gives the arguments of its calls."""
    program = pretended_nvcc(tmp_path / "cuda")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    return lambda: program.with_name("nvcc.log").read_text().splitlines()


@needs_compiler
def test_one_library_holds_every_instruction_set(folder):
    (entry,) = build.build(["cpu"]).values()
    assert entry["built"], entry["output"]
    compiled = ctypes.CDLL(str(build.library_path("cpu")))
    for name in entry["targets"]:
        assert getattr(compiled, f"psformer_tiny_{name}")() == 4
    assert entry == build.record()["cpu"] == json.loads((folder / build.RECORD).read_text())["cpu"]
    assert entry["reason"] == entry["output"] == ""
    assert "-O3" in entry["flags"] and "-ffast-math" not in entry["flags"]
    assert entry["version"] and entry["compiler"] and entry["seconds"] > 0
    assert sorted(os.listdir(folder)) == sorted([build.RECORD, "libpsformer_cpu.so"])


def test_without_a_compiler_the_record_says_so(folder, no_tools):
    entries = build.build(["cpu", "cuda"])
    assert "No C++ compiler was found" in entries["cpu"]["reason"]
    assert "No nvcc was found" in entries["cuda"]["reason"]
    assert build.library_path("cpu") is None
    assert backends.unavailable("cpu").startswith("No C++ compiler was found")
    assert "`python -m d2_psformer.ops build cuda` compiles it." in library.why_unusable("cuda")


def test_what_a_failing_compiler_says_is_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(failing_compiler(tmp_path)))
    (entry,) = build.build(["cpu"]).values()
    assert "failing-c++ ended with status 3: kernel.cpp:7: error" in entry["reason"]
    assert entry["output"].splitlines()[-1] == "1 error"
    assert build.library_path("cpu") is None
    assert os.listdir(folder) == [build.RECORD]


def test_a_compiler_that_is_not_there_is_named(folder, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/g++ -m64")
    (entry,) = build.build(["cpu"]).values()
    assert "/nowhere/g++" in entry["reason"]


@needs_compiler
def test_a_failed_build_takes_the_place_of_a_good_one_in_the_record(folder, tmp_path, monkeypatch):
    build.build(["cpu"])
    monkeypatch.setenv("CXX", str(failing_compiler(tmp_path)))
    build.build(["cpu"])
    assert build.library_path("cpu") is None
    assert "status 3" in build.why_missing("cpu")


@needs_compiler
def test_builds_at_the_same_time_leave_a_whole_library(folder):
    with ThreadPoolExecutor(3) as pool:
        entries = list(pool.map(lambda _: build.build(["cpu"])["cpu"], range(3)))
    assert all(entry["built"] for entry in entries)
    assert ctypes.CDLL(str(build.library_path("cpu"))).psformer_abi_version() == 1
    assert sorted(os.listdir(folder)) == sorted([build.RECORD, "libpsformer_cpu.so"])


@needs_compiler
def test_a_read_only_package_is_built_into_the_users_cache(folder, tmp_path, monkeypatch):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    build.build(["cpu"])
    assert not folder.exists()
    assert tmp_path / "cache" in build.library_path("cpu").parents
    write_sources(build.SOURCES, abi=2)
    assert build.library_path("cpu") is None  # other sources have a folder of their own


@needs_compiler
def test_changed_sources_are_noticed_for_the_library_they_belong_to(folder):
    build.build(["cpu"])
    (build.SOURCES / "cuda_kernel.cu").write_text("// new")
    assert not build.is_outdated("cpu")
    (build.SOURCES / "cpu_kernel.cpp").write_text("// new")
    assert build.is_outdated("cpu")
    assert build.library_path("cpu") is not None


@needs_compiler
def test_a_library_of_another_version_is_not_used(folder):
    write_sources(build.SOURCES, abi=999)
    build.build(["cpu"])
    reason = backends.unavailable("cpu")
    assert "another version" in reason and "`python -m d2_psformer.ops build cpu`" in reason


def test_a_file_that_is_no_library_is_not_used(folder, nvcc):
    build.build(["cuda"])
    (folder / "libpsformer_cpu.so").write_text("no library")
    (folder / build.RECORD).write_text(json.dumps({"cpu": {"built": True, "reason": ""}}))
    assert "libpsformer_cpu.so" in backends.unavailable("cpu")


def test_half_a_record_is_none(folder):
    folder.mkdir()
    (folder / build.RECORD).write_text('{"cpu": {"bui')
    assert build.record() == {}
    assert "has not been compiled" in build.why_missing("cpu")


def test_cuda_is_compiled_for_every_gpu_from_volta_on_and_ptx_of_the_newest(folder, nvcc):
    (entry,) = build.build(["cuda"]).values()
    assert entry["built"], entry
    assert entry["targets"] == ["sm_70", "sm_86", "sm_120", "compute_120"]
    assert entry["version"] == "Cuda compilation tools, release 99.9"
    (compiling,) = [call for call in nvcc() if "cuda_kernel.cu" in call]
    assert "-gencode=arch=compute_70,code=sm_70" in compiling
    assert "-gencode=arch=compute_120,code=compute_120" in compiling
    assert nvcc()[-1].endswith("-cudart=static")


def test_architectures_can_be_chosen(folder, nvcc, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.0;9.0a+PTX")
    assert build.build(["cuda"])["cuda"]["targets"] == ["sm_80", "sm_90a", "compute_90a"]
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "Volta")
    assert "TORCH_CUDA_ARCH_LIST is 'Volta'" in build.build(["cuda"])["cuda"]["reason"]


def test_an_nvcc_without_headers_gets_those_of_the_wheels(folder, tmp_path, monkeypatch):
    program = pretended_nvcc(tmp_path / "cuda", finds_headers=False)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    wheel = tmp_path / "site" / "nvidia" / "cu13"
    (wheel / "include").mkdir(parents=True)
    (wheel / "lib").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert build.build(["cuda"])["cuda"]["built"]
    *_, compiling, linking = program.with_name("nvcc.log").read_text().splitlines()
    assert f"-I{wheel / 'include'}" in compiling
    assert f"-L{wheel / 'lib'}" in linking


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc here")
def test_a_real_nvcc_compiles_without_a_gpu(folder, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0+PTX")
    (entry,) = build.build(["cuda"]).values()
    assert entry["built"], entry["output"]
    ctypes.CDLL(str(build.library_path("cuda")))


def test_an_install_compiles_cuda_only_where_it_has_a_use(folder, nvcc, monkeypatch):
    monkeypatch.setattr(build, "sees_gpu", lambda: False)
    monkeypatch.setenv("CXX", "/nowhere/g++")
    assert "saw no NVIDIA GPU" in build.build_at_install(folder)["cuda"]["reason"]
    monkeypatch.setattr(build, "sees_gpu", lambda: True)
    assert build.build_at_install(folder)["cuda"]["built"]
    monkeypatch.setattr(build, "sees_gpu", lambda: False)
    monkeypatch.setenv("FORCE_CUDA", "1")
    assert build.build_at_install(folder)["cuda"]["built"]
    monkeypatch.setenv("D2_PSFORMER_NO_EXT", "1")
    entries = build.build_at_install(folder)
    assert {entry["reason"] for entry in entries.values()} == {
        "D2_PSFORMER_NO_EXT=1 was set at the install."
    }
    assert build.library_path("cuda") is None


@needs_compiler
def test_without_a_gpu_the_command_compiles_the_cpu_kernel_alone(folder, capsys, monkeypatch):
    monkeypatch.setattr(build, "sees_gpu", lambda: False)
    assert command.main(["build"]) == 0
    lines = capsys.readouterr().out
    assert "cpu: generic" in lines and "`build cuda` compiles it" in lines
    assert build.record().keys() == {"cpu"}
    assert any("generic" in line for line in command.library_lines())


def test_with_a_gpu_the_command_compiles_both_and_shows_the_architectures(
    folder, nvcc, capsys, caplog, monkeypatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr(build, "sees_gpu", lambda: True)
    assert command.main(["build"]) == 0
    assert "cuda: sm_70" in capsys.readouterr().out
    assert "cuda: compiling for sm_70, sm_86, sm_120, compute_120" in caplog.messages
    assert any(message.startswith("cuda: 1 of 1 parts") for message in caplog.messages)


@needs_compiler
def test_an_interrupt_loses_nothing_that_was_finished(folder, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setitem(build.LIBRARIES, "cuda", interrupt)
    with pytest.raises(KeyboardInterrupt):
        command.main(["build", "cpu", "cuda"])
    assert build.record()["cpu"]["built"] and build.library_path("cpu").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["build", "rocm"]])
def test_help_and_wrong_arguments_need_no_torch(arguments):
    code = (
        "import runpy, sys; sys.modules['torch'] = None;"
        f"sys.argv[1:] = {arguments}; runpy.run_module('d2_psformer.ops', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == (0 if arguments == ["--help"] else 2), done.stderr


def test_the_command_ends_with_status_1_if_it_cannot_compile(folder, no_tools, capsys):
    assert command.main(["build", "cpu", "cuda"]) == 1
    lines = capsys.readouterr().out
    assert "cpu: left out. No C++ compiler" in lines and "cuda: left out. No nvcc" in lines
    assert any("left out. No nvcc" in line for line in command.library_lines())


def test_the_command_names_a_kernel_that_it_does_not_know(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["build", "rocm"])
    assert "no kernel is called rocm" in capsys.readouterr().err


def test_the_command_finds_a_wrong_kernel(monkeypatch, capsys):
    monkeypatch.setattr(backends, "FOR_DEVICE", {"cpu": ("cpu",)})
    monkeypatch.setattr(backends, "unavailable", lambda name: None)
    monkeypatch.setattr(cpu_kernel, "isa_in_use", lambda: "avx2")
    monkeypatch.setattr(selfcheck, "milliseconds", lambda *_: (1.0, 2.0))
    for difference, status in ((1e-6, 0), (float("inf"), 1)):
        monkeypatch.setattr(selfcheck, "largest_difference", lambda *_, found=difference: found)
        assert command.main([]) == status
    lines = capsys.readouterr().out
    assert "WRONG: differs by inf" in lines
    assert "available, on this processor with avx2" in lines

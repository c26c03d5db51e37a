"""Builds are kept until one of their inputs changes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from . import build
from .toolkit import Toolkit

pytestmark = pytest.mark.cuda
FILES = (
    "CMakeLists.txt",
    "cmake/cuda.cmake",
    "include/sru_kernels/math.hpp",
    "src/bindings/cuda_module.cpp",
    "src/cells/sru/cuda_forward.cu",
    "src/runtime/cuda/launch.cpp",
    "tests/cuda_on_cpu/shim/cuda_runtime.h",
)


def test_unfinished_files_are_made_again(tmp_path):
    path, made = tmp_path / "objects/asan/launch.o", []

    def fail(unfinished):
        unfinished.write_text("half")
        raise AssertionError("g++ was killed")

    def make(unfinished):
        made.append(unfinished.write_text("whole"))

    with pytest.raises(AssertionError, match="killed"):
        build.kept(path, fail)
    for _ in range(2):
        assert build.kept(path, make).read_text() == "whole"
    assert len(made) == 1
    assert {file.name for file in path.parent.iterdir()} == {"launch.o", "launch.o.lock"}


def test_concurrent_requests_make_a_build_once(tmp_path):
    path, made, again = tmp_path / "launch.o", [], Event()

    def make(unfinished):
        unfinished.write_text("whole")
        made.append(unfinished)
        if len(made) > 1:
            again.set()
        again.wait(0.2)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(build.kept, path, make) for _ in range(2)]
    assert [task.result().read_text() for task in both] == ["whole"] * 2
    assert len(made) == 1


def test_every_source_and_tool_is_in_the_fingerprint(tmp_path, monkeypatch):
    assert all((build.SOURCE / name).exists() for name in FILES) or not (build.SOURCE / "src/cells").is_dir()
    version = ["13.0"]
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    monkeypatch.setattr(build, "run", lambda tool, *_: f"{Path(tool).name} {version[0]}")
    toolkit = Toolkit("nvcc", "ptxas", (), ())
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("int x;\n")
    seen = [build.fingerprint(toolkit)]
    for name in FILES:
        (tmp_path / name).write_text("int y;\n")
        seen.append(build.fingerprint(toolkit))
    version[0] = "13.1"
    seen.append(build.fingerprint(toolkit))
    assert len(set(seen)) == 2 + len(FILES)
    (tmp_path / "src/cells/sru/__pycache__").mkdir()
    (tmp_path / "src/cells/sru/__pycache__/x.pyc").write_text("")
    assert build.fingerprint(toolkit) == seen[-1]

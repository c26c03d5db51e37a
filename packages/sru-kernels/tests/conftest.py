"""The engines that run the kernels."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .cuda_on_cpu.build import SOURCE, Builds, fingerprint
from .cuda_on_cpu.toolkit import find_toolkit
from .support.engines import (
    ENGINES,
    PTX,
    SOURCES,
    Engine,
    Worker,
    cpu_engine,
    gpu_engine,
    ptx_worker,
    source_worker,
)


@contextmanager
def kept_folder(config: pytest.Config, name: str, otherwise: Path) -> Iterator[Path]:
    """A folder in pytest's cache, shared with later runs and with other processes of this run.

    Removes folders with other names unless a run is using them. Without a cache, yields `otherwise`.
    """
    if (cache := getattr(config, "cache", None)) is None:
        yield otherwise
        return
    folder = cache.mkdir("cuda_on_cpu")
    for old in folder.iterdir():
        if old.is_dir() and old.name != name:
            with (folder / f"{old.name}.lock").open("w") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder / name


@pytest.fixture(scope="session")
def builds(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    """The builds of the CUDA extension, all started at once; reused from the last run if nothing changed.

    If several processes run tests, one makes each build and the others wait for it.
    """
    toolkit = find_toolkit()
    if toolkit is None:
        pytest.skip("nvcc is not on PATH, and CUDACXX is not set")
    if not (SOURCE / "src/cells").is_dir():
        pytest.skip(f"the tests are not beside the sources: {SOURCE} has no src/cells")
    folder = tmp_path_factory.mktemp("cuda")
    with kept_folder(pytestconfig, fingerprint(toolkit), folder / "made") as made:
        builds = Builds(toolkit, made, folder / "packages")
        builds.start()
        yield builds
        builds.pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def workers(builds: Builds) -> Iterator[Callable[[str], Worker]]:
    """A function that returns the process of a CUDA engine, started on first use."""
    started: dict[str, Worker] = {}

    def worker(name: str) -> Worker:
        if name not in started:
            started[name] = (source_worker if name in SOURCES else ptx_worker)(builds, name)
        return started[name]

    yield worker
    for process in started.values():
        process.close()


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine(engine_name: str, request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    if engine_name in (*SOURCES, *PTX):
        return request.getfixturevalue("workers")(engine_name)
    return gpu_engine() if engine_name == "gpu" else cpu_engine()

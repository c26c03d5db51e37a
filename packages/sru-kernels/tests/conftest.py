"""The engines that run the kernels."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cuda: compiles CUDA code with nvcc, and runs it on the CPU; `-m 'not cuda'` leaves it out"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, keep all tests that use the CUDA builds, which take minutes, in one process."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileAndBuild(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "CUDA builds" if is_named_for_builds(nodeid) else super()._split_scope(nodeid)

    return ByFileAndBuild(config, log)


def is_named_for_builds(nodeid: str) -> bool:
    """Whether the name of a test says that it uses the CUDA builds; the scheduler sees nothing else of it."""
    return any(name in nodeid for name in ("cuda", *SOURCES, *PTX))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that would have a second process make the builds again."""
    for item in items:
        if item.get_closest_marker("cuda") and not is_named_for_builds(item.nodeid):
            raise pytest.UsageError(
                f"{item.nodeid} is marked cuda: name an engine in its parameters, or its file test_cuda*"
            )


@contextmanager
def kept_folder(config: pytest.Config, name: str, otherwise: Path) -> Iterator[Path]:
    """A folder in pytest's cache, which outlives the run; another if there is none or a run is using it."""
    if (cache := getattr(config, "cache", None)) is None:
        yield otherwise
        return
    folder = cache.mkdir("cuda_on_cpu")
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield otherwise
            return
        for old in folder.iterdir():
            if old.is_dir() and old.name != name:
                shutil.rmtree(old)
        yield folder / name


@pytest.fixture(scope="session")
def builds(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builds]:
    """The builds of the CUDA extension, all started at once; those of the last run if nothing changed."""
    toolkit = find_toolkit()
    if toolkit is None:
        pytest.skip("no nvcc is found on PATH, and CUDACXX names none")
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

"""Builds of the CUDA extension that run without a GPU, each a folder with a package `sru_kernels`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

import sru_kernels
from sru_kernels import _native

from .ptxrun.translate import translate
from .toolkit import Toolkit, find_tool

HERE = Path(__file__).parent
SOURCE = HERE.parents[1]
ARCHITECTURES = ("75", "120")  # the oldest and the newest that the wheel supports
SANITIZERS = {
    "asan": (
        *("-fsanitize=address,alignment", "-fno-sanitize-recover=all"),
        "--param=asan-instrumentation-with-call-threshold=0",  # instrument with calls, which compile faster
    ),
    "tsan": ("-fsanitize=thread",),
}
EXTENSION = "_cuda" + sysconfig.get_config_var("EXT_SUFFIX")


def run(*command: str | Path) -> str:
    """Run a command and return its output; raise an AssertionError with the output if the command fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-6000:]}"
    return done.stdout


def fingerprint(toolkit: Toolkit) -> str:
    """A digest of all inputs of the builds: sources, compilers, versions, and the files of this folder."""
    import pybind11

    digest = hashlib.sha256()
    folders = ("cmake", "include", "src/bindings", "src/cells", "src/runtime", "tests/cuda_on_cpu")
    files = [SOURCE / "CMakeLists.txt", *(file for name in folders for file in (SOURCE / name).rglob("*"))]
    for file in sorted(files):
        if file.is_file() and file.suffix != ".pyc":
            digest.update(f"{file.relative_to(SOURCE)} {file.stat().st_size}\n".encode() + file.read_bytes())
    tools = [run(tool, "--version") for tool in ("g++", toolkit.nvcc, "cmake")]
    digest.update(repr((tools, pybind11.__version__, metadata.version("sru-kernels"), EXTENSION)).encode())
    return digest.hexdigest()[:16]


def kept(path: Path, make: Callable[[Path], object]) -> Path:
    """Make a file or a folder unless it exists; wait if another process is making it.

    An unfinished one has a different name.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                unfinished = path.with_name(f"unfinished-{path.name}")
                make(unfinished)
                unfinished.replace(path)
    return path


@dataclass
class Builds:
    """Makes each build once, in a thread pool, on first use; `start` starts all of them.

    A task waits only for tasks submitted before it, so that a small pool cannot deadlock. Compiled files stay
    in `folder`, where a later run with the same `fingerprint` finds them.
    """

    toolkit: Toolkit
    folder: Path
    packages: Path
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(os.cpu_count() or 1))

    def start(self) -> None:
        """Start all builds."""
        _ = self.extension, self.bindings, self.sources, self.translated, self.cubins

    # The CUDA source, compiled by g++ with a sanitizer.

    @cached_property
    def bindings(self) -> list[Future[Path]]:
        """The bindings, without a sanitizer because they are slow to compile; both builds share them."""
        import pybind11

        include = ("-I", pybind11.get_include(), "-I", sysconfig.get_path("include"))
        file = SOURCE / "src/bindings/cuda_module.cpp"
        return [self.pool.submit(self._compile, file, "bindings", "-O0", *include)]

    @cached_property
    def sources(self) -> dict[str, Future[Path]]:
        """The packages, by sanitizer."""
        bindings = self.bindings
        files = [*SOURCE.glob("src/cells/*/cuda_*.cu"), *SOURCE.glob("src/runtime/cuda/*.cpp")]
        objects = {
            name: [self.pool.submit(self._compile, file, name, "-O1", *options) for file in files]
            for name, options in SANITIZERS.items()
        }
        return {name: self.pool.submit(self._link, name, [*bindings, *objects[name]]) for name in SANITIZERS}

    def _compile(self, file: Path, kind: str, *options: str) -> Path:
        result = self.folder / "objects" / kind / f"{file.parent.name}-{file.name}.o"
        common = ("-std=c++17", "-g1", "-w", "-fPIC", "-fvisibility=hidden", "-mfma", "-ffp-contract=off")
        include = ("-I", HERE / "shim", "-I", SOURCE / "include", "-I", SOURCE / "src")
        definitions = (
            '-DSRU_KERNELS_CUDA_TOOLKIT="13.0"',
            '-DSRU_KERNELS_CUDA_ARCHITECTURES="shim"',
            '-DSRU_KERNELS_CUDART="static"',
        )
        compiler = ("g++", "-x", "c++", *common, *options, *definitions, *include, *self.toolkit.options())
        return kept(result, lambda path: run(*compiler, "-c", file, "-o", path))

    def _link(self, sanitizer: str, parts: list[Future[Path]]) -> Path:
        linker = ("g++", "-shared", *SANITIZERS[sanitizer], *(task.result() for task in parts), "-lpthread")
        library = kept(self.folder / f"{sanitizer}.so", lambda path: run(*linker, "-o", path))
        return self._package(f"source-{sanitizer}", library)

    # The extension built by nvcc, and a stand-in for the CUDA runtime that runs its PTX.

    @cached_property
    def extension(self) -> Future[Path]:
        """`_cuda`, with its kernels built as for a wheel, but with only PTX and a shared CUDA runtime."""
        return self.pool.submit(self._extension)

    def _extension(self) -> Path:
        import pybind11

        work = self.folder / "cmake"
        options = {
            "SKBUILD_PROJECT_NAME": "sru-kernels",
            "SKBUILD_PROJECT_VERSION": metadata.version("sru-kernels").split("+")[0],
            "SKBUILD_PROJECT_VERSION_FULL": metadata.version("sru-kernels"),
            "SRU_KERNELS_CUDA": "ON",
            "SRU_KERNELS_CUDART": "shared",
            "CMAKE_CUDA_ARCHITECTURES": ";".join(f"{name}-virtual" for name in ARCHITECTURES),
            "CMAKE_CUDA_COMPILER": self.toolkit.nvcc,
            "CMAKE_BUILD_TYPE": "Release",
            # Not optimized: host code only launches kernels, and optimizing it takes longer than running it.
            "CMAKE_CXX_FLAGS_RELEASE": "-DNDEBUG",
            "CMAKE_CUDA_FLAGS_RELEASE": "-DNDEBUG",
            "CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",
            "CMAKE_SKIP_RPATH": "ON",
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11.get_cmake_dir(),
        }

        def build(path: Path) -> None:
            run("cmake", "-G", "Ninja", "-S", SOURCE, "-B", work, *(f"-D{k}={v}" for k, v in options.items()))
            run("cmake", "--build", work, "--target", "_cuda", "--parallel", str(os.cpu_count() or 1))
            shutil.copy(next(work.rglob(EXTENSION)), path)

        return kept(self.folder / "_cuda.so", build)

    @cached_property
    def ptx(self) -> Future[dict[str, list[Path]]]:
        """The PTX files inside the extension, by architecture."""
        return self.pool.submit(self._ptx, self.extension)

    def _ptx(self, built: Future[Path]) -> dict[str, list[Path]]:
        command = [find_tool("cuobjdump"), "-xptx", "all", str(built.result())]

        def extract(path: Path) -> None:
            path.mkdir(exist_ok=True)
            subprocess.run(command, cwd=path, check=True, capture_output=True)

        folder = kept(self.folder / "extracted", extract)
        return {name: sorted(folder.glob(f"*.sm_{name}.ptx")) for name in ARCHITECTURES}

    @cached_property
    def translated(self) -> dict[str, Future[Path]]:
        """The stand-in runtimes: for each architecture, a folder with `libcudart.so.13`."""
        return {name: self.pool.submit(self._translated, name, self.ptx) for name in ARCHITECTURES}

    def _translated(self, architecture: str, ptx: Future[dict[str, list[Path]]]) -> Path:
        files = ptx.result()[architecture]
        assert files, f"the extension has no PTX of compute_{architecture}"

        def build(folder: Path) -> None:
            folder.mkdir(exist_ok=True)
            (folder / "kernels.cpp").write_text(translate([file.read_text() for file in files]))
            (folder / "versions").write_text("libcudart.so.13 { global: *; };\n")
            run(
                *("g++", "-std=c++17", "-O0", "-g0", "-w", "-fPIC", "-shared", "-mfma", "-ffp-contract=off"),
                *("-frounding-math", "-fno-strict-aliasing", "-I", HERE / "shim", "-I", HERE / "ptxrun"),
                *(*self.toolkit.options(), HERE / "ptxrun/cudart.cpp", folder / "kernels.cpp"),
                *("-o", folder / "libcudart.so.13", "-Wl,-soname,libcudart.so.13"),
                *(f"-Wl,--version-script,{folder / 'versions'}", "-lpthread"),
            )

        return kept(self.folder / f"runtime-{architecture}", build)

    @cached_property
    def real(self) -> Path:
        """The package with the extension built by nvcc."""
        return self._package("ptx", self.extension.result())

    @cached_property
    def static(self) -> Path:
        """The package with the same object files linked with the static runtime, as in wheels."""
        objects = sorted((self.extension.result().parent / "cmake/CMakeFiles/_cuda.dir").rglob("*.o"))
        linker = ("g++", "-shared", *objects, *self.toolkit.libraries)
        runtime = ("-lcudart_static", "-ldl", "-lrt", "-lpthread")
        library = kept(self.folder / "static.so", lambda path: run(*linker, *runtime, "-o", path))
        return self._package("static", library)

    @cached_property
    def cpu_only(self) -> Path:
        """The package of a build without CUDA."""
        return self._package("cpu-only")

    # The output of the assembler.

    @cached_property
    def cubins(self) -> dict[str, Future[list[tuple[Path, str]]]]:
        """For each architecture, the machine code of each PTX file and the report of ptxas."""
        return {name: self.pool.submit(self._assemble, name, self.ptx) for name in ARCHITECTURES}

    def _assemble(self, architecture: str, ptx: Future[dict[str, list[Path]]]) -> list[tuple[Path, str]]:
        results = []
        for file in ptx.result()[architecture]:
            cubin = file.with_suffix(".cubin")
            assembler = (self.toolkit.ptxas, "-v", f"-arch=sm_{architecture}", file, "-o", cubin)
            said = kept(file.with_suffix(".txt"), lambda path, a=assembler: path.write_text(run(*a)))
            results.append((cubin, said.read_text()))
        return results

    def _package(self, name: str, extension: Path | None = None) -> Path:
        """A folder with the installed package, whose CUDA extension is replaced by another one or none."""
        package = self.packages / name / "sru_kernels"
        package.mkdir(parents=True)
        for file in (*Path(sru_kernels.__file__).parent.glob("*.py"), Path(_native.__file__)):
            shutil.copy(file, package)
        if extension is not None:
            shutil.copy(extension, package / EXTENSION)
        return package.parent

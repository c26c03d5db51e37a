"""The one door to this repository: `nox -l` lists what can be run, `nox -s NAME` runs it.

Every session passes what follows `--` on, for example `nox -s tests -- -k parity -x`.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "tests"]

VERSIONS = nox.project.load_toml("ci/versions.toml")
TORCH = f"torch=={VERSIONS['torch']['default']}"
PINS = ("--constraint", "ci/constraints.txt")
PYTEST = ("pytest", "pytest-randomly", "pytest-timeout", "hypothesis", "numpy")
LINTERS = ("ruff", "clang-format")
CXX_SUFFIXES = {".cpp", ".h", ".hpp", ".cu", ".cuh"}

# Each package and the packages of ours that come with it when it is installed alone.
PACKAGES = {
    "sru-kernels": [],
    "sru-nn": [],
    "sru-data": [],
    "sru-apps": ["sru-data", "sru-nn"],
}


def folders(*names: str) -> list[str]:
    """The folders of the given packages, or of all."""
    return [f"./packages/{name}" for name in names or PACKAGES]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style: ruff for Python, clang-format for C++ and CUDA; `-- --fix` repairs what it can."""
    session.install(*PINS, *LINTERS)
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if fix else ["--check"]))
    session.run("clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *cxx_sources())


def cxx_sources() -> list[str]:
    """The C++ and CUDA files we wrote, which are not all there are once something was built in the tree."""
    files = (file for kind in ("include", "src", "tests") for file in Path("packages").glob(f"*/{kind}/**/*"))
    return sorted(str(file) for file in files if file.suffix in CXX_SUFFIXES)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all packages with mypy --strict."""
    session.install(*PINS, TORCH, *folders("sru-nn", "sru-data", "sru-apps"), "mypy")
    session.run("mypy", *session.posargs)


def run_tests(session: nox.Session, torch: str, *options: str) -> None:
    """Install the four packages with one torch version and run their tests."""
    session.install(*PINS, torch, *folders(), *PYTEST)
    session.run("python", "-m", "pytest", *options, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, on the Python that started nox and the default torch; `tests-matrix` runs the rest."""
    run_tests(session, TORCH)


@nox.session(name="tests-matrix", python=VERSIONS["python"])
@nox.parametrize("torch", VERSIONS["torch"]["supported"], ids=VERSIONS["torch"]["supported"])
def tests_matrix(session: nox.Session, torch: str) -> None:
    """Run `tests` on every supported Python and torch, or one pair: `nox -s "tests-matrix-3.12(2.6.0)"`."""
    run_tests(session, f"torch=={torch}")


@nox.session(name="tests-gpu")
def tests_gpu(session: nox.Session) -> None:
    """Run the tests marked `gpu`; fail at once where no CUDA device is found."""
    if problem := no_cuda_device():
        session.error(f"tests-gpu needs a CUDA device: {problem}; `nox -s tests` runs what needs none")
    run_tests(session, TORCH, "-m", "gpu")


def no_cuda_device() -> str | None:
    """Say why there is no usable CUDA device, asking the driver itself so that nothing need be installed."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the NVIDIA driver (libcuda.so.1) is not installed"
    if error := driver.cuInit(0):
        return f"the NVIDIA driver did not start (cuInit returned {error})"
    count = ctypes.c_int()
    if error := driver.cuDeviceGetCount(ctypes.byref(count)):
        return f"the NVIDIA driver did not answer (cuDeviceGetCount returned {error})"
    return None if count.value else "the NVIDIA driver sees none (is CUDA_VISIBLE_DEVICES set?)"


@nox.session
def demo(session: nox.Session) -> None:
    """Train a small SRU on text that ships with Python, beside an LSTM: `sru demo` and its options."""
    session.install(TORCH, *folders())
    session.run("sru", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time SRU on the CPU against PyTorch's modules and `sru` 2.6.0; write docs/benchmarks."""
    # The old package is compiled when it is imported, with ninja and whatever compiler there is.
    session.install(
        TORCH, *folders("sru-kernels", "sru-nn"), "sru==2.6.0", "ninja", "setuptools", "matplotlib"
    )
    session.run("python", "packages/sru-nn/benchmarks/bench_sru.py", *session.posargs)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make one environment with everything, our packages editable, in the folder .venv."""
    session.run(sys.executable, "-m", "virtualenv", "--clear", ".venv")
    editable = [word for folder in folders() for word in ("--editable", folder)]
    tools = (*PYTEST, *LINTERS, "mypy")
    session.run(".venv/bin/python", "-m", "pip", "install", *PINS, TORCH, *editable, *tools, *session.posargs)
    session.log("Done. Activate it with: source .venv/bin/activate")


@nox.session(name="check-wheel")
def check_wheel(session: nox.Session) -> None:
    """Build all wheels; install each, or those named, alone in a bare environment; run a user's program."""
    if unknown := set(session.posargs) - set(PACKAGES):
        session.error(f"check-wheel takes names out of {', '.join(PACKAGES)}; got {', '.join(unknown)}")
    session.install(*PINS, "build")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for folder in folders():
            session.run("python", "-m", "build", "--outdir", str(work / "dist"), folder)
        wheels = {path.name.split("-")[0].replace("_", "-"): path for path in (work / "dist").glob("*.whl")}
        # A constraint that is a file leaves pip no other place to take a package of ours from.
        ours = work / "ours.txt"
        ours.write_text("".join(f"{name} @ {path.as_uri()}\n" for name, path in wheels.items()))
        for name in session.posargs or PACKAGES:
            check_one_wheel(session, name, ours, work / "bare")


def check_one_wheel(session: nox.Session, name: str, ours: Path, bare: Path) -> None:
    """Install one package in a new environment and try it, from a folder that is not the source tree."""
    programs = Path("ci/check-wheel").resolve()
    python = str(bare / "bin/python")
    torch = [] if name == "sru-kernels" else [TORCH]
    session.run("python", "-m", "venv", "--clear", str(bare))
    session.run(python, "-m", "pip", "install", "--constraint", str(ours), *torch, name, external=True)
    with session.chdir(bare):
        allowed = [name, *PACKAGES[name]]
        session.run(python, "-I", str(programs / "installed.py"), *allowed, external=True)
        session.run(python, "-I", str(programs / f"{name}.py"), external=True)

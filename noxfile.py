"""Every check of this repository: `nox -l` lists the sessions, `nox -s NAME` runs one.

Every session passes on the arguments after `--`, for example `nox -s tests -- -k parity -x`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))
from ci.environments import (
    CUDA_TOOLS,
    EXTRAS,
    PACKAGES,
    PARALLEL,
    PINS,
    PURE,
    PYTEST,
    THREADS,
    TORCH,
    TRITON,
    VERSIONS,
    WITH_COMPILE,
    cuda,
    cuda_of_this_machine,
    folders,
    install_kernels,
    no_cuda_device,
)
from ci.wheels.sessions import build_wheels, check_wheels, wheel_options

# Python caches the bytecode of what it imports; pip would compile all of PyTorch, which takes a minute. For
# pip, "0" sets this option and "1" clears it.
os.environ["PIP_NO_COMPILE"] = "0"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "tests", "tests-compile", "tests-cuda", "tests-triton"]

DOCS_TOOLS = ("mkdocs-material", "mkdocs-jupyter", "mkdocstrings[python]", "ruff")
LINTERS = ("ruff", "clang-format")
CXX_SUFFIXES = {".cpp", ".h", ".hpp", ".cu", ".cuh"}

# The tests that run in Triton's interpreter: the recurrences with every backend, and modules around them.
INTERPRETED = (
    "packages/sru-nn/tests/cells/sru/test_operator.py",
    "packages/sru-nn/tests/cells/sru/test_pieces.py",
    "packages/sru-nn/tests/cells/sru/test_triton.py",
    "packages/sru-nn/tests/cells/mingru/test_operator.py",
    "packages/sru-nn/tests/cells/gated_linear/test_operator.py",
    "packages/sru-nn/tests/cells/gated_linear/test_pieces.py",
    "packages/sru-nn/tests/cells/gated_linear/test_triton.py",
    "packages/sru-nn/tests/contract/test_sequences.py",
    "packages/sru-nn/tests/test_triton.py",
)

# The benchmarks of `nox -s bench`, and the package that contains each of them.
BENCHMARKS = {
    "sru": "sru-nn",
    "compile": "sru-nn",
    "quantized": "sru-nn",
    "gated_linear": "sru-nn",
    "ligru": "sru-nn",
    "sequences": "sru-nn",
    "classification": "sru-apps",
    "language_model": "sru-apps",
    "squad": "sru-apps",
    "translation": "sru-apps",
}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style: ruff for Python, clang-format for C++ and CUDA; `-- --fix` fixes what it can."""
    session.install(*PINS, *LINTERS)
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if fix else ["--check"]))
    session.run("clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *cxx_sources())


def cxx_sources() -> list[str]:
    """Return our C++ and CUDA files, without those that a build leaves in the tree."""
    files = (file for kind in ("include", "src", "tests") for file in Path("packages").glob(f"*/{kind}/**/*"))
    return sorted(str(file) for file in files if file.suffix in CXX_SUFFIXES)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of all packages with mypy --strict."""
    install_kernels(session, cuda("OFF"))
    session.install(*PINS, TORCH, *folders(*PURE), "mypy")
    session.run("mypy", *session.posargs)
    session.run("mypy", *map(str, sorted(Path("ci/check-wheel").glob("*.py"))))


def run_tests(session: nox.Session, torch: str, *options: str, kernels: list[str]) -> None:
    """Install the four packages with one torch version and run their tests."""
    install_kernels(session, kernels)
    session.install(*PINS, torch, *folders(*PURE), *PYTEST, *EXTRAS)
    session.run("python", "-m", "pytest", *options, *session.posargs, env=THREADS)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on the Python that started nox; `tests-compile` and others run the slower ones."""
    run_tests(session, TORCH, *PARALLEL, kernels=cuda("OFF"))


@nox.session(name="tests-compile")
def tests_compile(session: nox.Session) -> None:
    """Run the tests that trace whole modules: by torch.compile, torch.export, AOTInductor and to ONNX."""
    run_tests(session, TORCH, "-m", "compile", *PARALLEL, kernels=cuda("OFF"))


@nox.session(name="tests-matrix", python=VERSIONS["python"])
@nox.parametrize("torch", VERSIONS["torch"]["supported"], ids=VERSIONS["torch"]["supported"])
def tests_matrix(session: nox.Session, torch: str) -> None:
    """Run both on every supported Python and torch; one pair: `nox -s "tests-matrix-3.12(2.6.0)"`."""
    run_tests(session, f"torch=={torch}", *WITH_COMPILE, *PARALLEL, kernels=cuda("OFF"))


@nox.session(name="tests-cuda")
def tests_cuda(session: nox.Session) -> None:
    """Compile the CUDA kernels and run them on the CPU; no GPU is needed, but nvcc is."""
    if not shutil.which(os.environ.get("CUDACXX", "nvcc")):
        session.skip("no nvcc is found on PATH, and CUDACXX names none")
    install_kernels(session, cuda("OFF"))
    session.install(*PINS, *PYTEST, *CUDA_TOOLS)
    chosen = ("packages/sru-kernels/tests", "-m", "cuda", *PARALLEL)
    session.run("python", "-m", "pytest", *chosen, *session.posargs, env=THREADS)


@nox.session(name="tests-triton")
def tests_triton(session: nox.Session) -> None:
    """Run the recurrences in Triton's interpreter and compile their kernels; no GPU is needed."""
    session.install(*PINS, TORCH, *folders("sru-nn"), *PYTEST)
    # A torch for GPUs comes with the matching Triton.
    find = "import importlib.util; print(importlib.util.find_spec('triton') is not None)"
    if "True" not in str(session.run("python", "-c", find, silent=True)):
        session.install(TRITON)
    pytest, environment = ("python", "-m", "pytest", *PARALLEL), THREADS | {"TRITON_DEFAULT_FP_FUSION": "1"}
    interpreted = environment | {"TRITON_INTERPRET": "1"}
    # In the interpreter NumPy warns about infinities and NaN. Second derivatives use the reference, after
    # many forward passes.
    chosen = ("-W", "ignore::RuntimeWarning", "-k", "triton and not second_derivatives", *INTERPRETED)
    session.run(*pytest, *chosen, *session.posargs, env=interpreted)
    session.run(*pytest, "-m", "triton", "packages/sru-nn/tests/cells", *session.posargs, env=environment)


@nox.session(name="tests-gpu")
def tests_gpu(session: nox.Session) -> None:
    """Run the tests marked `gpu`; fail at once if there is no CUDA device."""
    if problem := no_cuda_device():
        session.error(f"tests-gpu needs a CUDA device: {problem}; `nox -s tests` runs what needs none")
    run_tests(session, TORCH, "-m", "gpu", kernels=cuda("ON", "native"))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try random files, calls and kills for ten minutes: `-- --minutes 60`, `--seed N`, `--only readers`."""
    install_kernels(session, cuda("OFF"))
    session.install(*PINS, TORCH, *folders(*PURE), *PYTEST, *EXTRAS)
    session.run("python", "ci/fuzz", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Train a small SRU and an LSTM on text that ships with Python: `sru demo` and its options."""
    install_kernels(session, cuda_of_this_machine())
    session.install(TORCH, *folders(*PURE))
    session.run("sru", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time SRU on the CPU and write docs/benchmarks; `-- NAME` times another of BENCHMARKS.

    `-- NAME --against COMMIT` times this tree against a commit: sru, classification or language_model.
    """
    options = list(session.posargs)
    name = options.pop(0) if options and options[0] in BENCHMARKS else "sru"
    package = BENCHMARKS[name]
    names = sorted({"sru-nn", package, *PACKAGES[package]})
    folder = f"packages/{package}/benchmarks"
    if "--against" in options:
        at = options.index("--against")
        program = Path(folder, f"turns_{name}.py")
        if not program.exists() or not options[at + 1 :]:
            session.error("use: nox -s bench -- sru|classification|language_model --against COMMIT")
        commit = options[at + 1]
        del options[at : at + 2]
        theirs = install_commit(session, commit, ["sru-kernels", *names])
        install_kernels(session, cuda_of_this_machine())
        session.install(*PINS, TORCH, *folders(*names))
        sides = ("--program", str(program), "--against", commit, "--python", theirs)
        session.run("python", "packages/sru-nn/benchmarks/against.py", name, *sides, *options)
        return
    # The old package is compiled at import, with ninja and the compiler on the path.
    peers = ("sru==2.6.0", "ninja", "setuptools", "torchao")
    install_kernels(session, cuda_of_this_machine())
    session.install(*PINS, TORCH, *folders(*names), *peers, "matplotlib")
    if name == "ligru":  # only one file of it is read; the package needs a matching torchaudio
        session.install("--no-deps", "speechbrain==1.1.2")
    session.run("python", f"{folder}/bench_{name}.py", *options)


def install_commit(session: nox.Session, commit: str, names: list[str]) -> str:
    """Install the packages of a commit in a separate environment; return its interpreter."""
    tree, python = Path(session.create_tmp(), "tree"), Path(session.create_tmp(), "theirs/bin/python")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    archive = tree.with_suffix(".tar")
    session.run("git", "archive", f"--output={archive}", commit, "packages", external=True)
    shutil.unpack_archive(archive, tree)
    session.run("python", "-m", "venv", "--clear", str(python.parents[1]))
    packages = [str(tree / "packages" / name) for name in names]
    install = (str(python), "-m", "pip", "install", *PINS, TORCH, *packages, *cuda_of_this_machine())
    session.run(*install, external=True)
    return str(python)


@nox.session(name="bench-srupp")
def bench_srupp(session: nox.Session) -> None:
    """Time SRU++ on the CPU against `sru` 3.0.0.dev6; write docs/benchmarks."""
    # The peer comes only as source, imports torch in its build, and cannot be installed alongside 2.6.0.
    build = ("ninja", "setuptools", "wheel", "numpy")
    install_kernels(session, cuda("OFF"))
    session.install(TORCH, *folders("sru-nn"), *build)
    session.install("--no-build-isolation", "sru==3.0.0.dev6")
    session.run("python", "packages/sru-nn/benchmarks/bench_srupp.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site, running the notebooks; a warning is an error."""
    install_kernels(session, cuda("OFF"))
    session.install(*PINS, TORCH, *DOCS_TOOLS, *folders(*PURE))
    build = ("mkdocs", "build", "--strict", "--config-file", "docs/site/mkdocs.yml", *session.posargs)
    session.run(*build, env=THREADS | {"NO_MKDOCS_2_WARNING": "1"})


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Create an environment with everything in .venv, with our packages editable."""
    session.run(sys.executable, "-m", "virtualenv", "--clear", ".venv")
    editable = [word for folder in folders() for word in ("--editable", folder)]
    tools = (*PYTEST, *EXTRAS, *CUDA_TOOLS, *LINTERS, "mypy")
    install = (".venv/bin/python", "-m", "pip", "install", *PINS, TORCH, *cuda_of_this_machine())
    session.run(*install, *editable, *tools, *session.posargs)
    session.log("Done. Activate it with: source .venv/bin/activate")


@nox.session(name="cuda-report")
def cuda_report(session: nox.Session) -> None:
    """Compile the CUDA kernels for all architectures with nvcc and write docs/benchmarks/cuda-kernels.md."""
    install_kernels(session, cuda("OFF"))
    session.install(*PINS, *CUDA_TOOLS, "numpy")
    session.run("python", "packages/sru-kernels/benchmarks/cuda_report.py", *session.posargs)


@nox.session(name="gpu-report")
def gpu_report(session: nox.Session) -> None:
    """Test and time the kernels on this machine's GPU in ten minutes; write docs/benchmarks/gpu.md."""
    if problem := no_cuda_device():
        session.error(f"gpu-report needs a CUDA device: {problem}")
    install_kernels(session, cuda("ON", "native"))
    session.install(*PINS, TORCH, *folders("sru-nn"), *PYTEST)
    session.run("python", "packages/sru-kernels/benchmarks/gpu_report.py", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of the CPU kernels under the address and undefined behaviour sanitizers."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
    session.install(*PINS, *PYTEST)
    session.install(
        *folders("sru-kernels"),
        *cuda("OFF"),
        *("-C", "install.strip=false", "-C", "cmake.define.SRU_KERNELS_STUBS=OFF"),
        env={"CXXFLAGS": flags, "LDFLAGS": flags},
    )
    # Python itself is not sanitized, so the sanitizer must be preloaded, together with libstdc++, whose
    # exceptions it wraps. Leak detection is off: Python leaks memory on purpose.
    find = "for name in libasan.so libstdc++.so.6; do ${CXX:-c++} -print-file-name=$name; done"
    preload = str(session.run("sh", "-c", find, external=True, silent=True)).split()
    environment = {
        "LD_PRELOAD": " ".join(preload),
        "ASAN_OPTIONS": "detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",
    }
    widest = "import sru_kernels; print(sru_kernels.cpu.instruction_set())"
    found = str(session.run("python", "-c", widest, env=environment, silent=True)).strip()
    sets = ["baseline", "avx2", "avx512", "avx512_bf16"]
    # The output of a sanitizer that ends the process must not be captured.
    tests = "packages/sru-kernels/tests"
    pytest = ("python", "-m", "pytest", tests, "--capture=sys")
    again = f"--ignore={tests}/runtime/test_instruction_set.py"  # it runs the other instruction sets itself
    for chosen in sets[: sets.index(found) + 1]:
        environment["SRU_KERNELS_INSTRUCTION_SET"] = chosen
        session.run(*pytest, again, *session.posargs, env=environment)
    if found != sets[-1]:
        session.warn(f"this processor runs nothing wider than {found}; the kernels beyond were not checked")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheels of all packages, or of those named, into dist; see docs/developers/wheels.md."""
    options = wheel_options("wheels").parse_args(session.posargs)
    build_wheels(session, options.names or list(PACKAGES), options.kernels)


@nox.session(name="check-wheel")
def check_wheel(session: nox.Session) -> None:
    """Check the wheels in dist, building missing ones: a user's program with each alone, then the tests."""
    check_wheels(session)

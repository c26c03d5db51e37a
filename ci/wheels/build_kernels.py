"""Build one wheel of sru-kernels from its source distribution and give it its manylinux tag.

Usage: python ci/wheels/build_kernels.py SDIST KIND. The KIND is `cuda`, for dist, or `cpu`, for dist/cpu.
"""

import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import ziglang
from contents import Contents, look_into

FOLDERS = {"cuda": Path("dist"), "cpu": Path("dist/cpu")}
# Clang with the headers and symbols of any glibc; this one is no newer than what PyTorch's own wheels need.
# nvcc does not accept it as its host compiler.
ZIG = f"{Path(ziglang.__file__).with_name('zig')} c++ -target {platform.machine()}-linux-gnu.2.28"


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a source distribution; return the one folder that it holds."""
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(target)
    (source,) = target.iterdir()
    return source


def mark_cpu_only(source: Path) -> None:
    """Set the version to X+cpu, so that lock files, pip and bug reports can tell the two wheels apart."""
    settings = source / "pyproject.toml"
    text, found = re.subn(r'(?m)^version = "([^"+]+)"$', r'version = "\1+cpu"', settings.read_text())
    if found != 1:
        sys.exit(f"build_kernels: {settings} should hold one line `version = ...`, found {found}")
    settings.write_text(text)


def build(archive: Path, kind: str) -> Contents:
    """Compile, repair and inspect a wheel; exit before dist is changed if the wheel has a problem."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source = unpack(archive, work / "source")
        if kind == "cpu":
            mark_cpu_only(source)
        cuda = f"-Ccmake.define.SRU_KERNELS_CUDA={'ON' if kind == 'cuda' else 'OFF'}"
        build = ["-m", "build", "--wheel", cuda, "--outdir", str(work / "linux"), str(source)]
        environment = os.environ | ({"CXX": ZIG} if kind == "cpu" else {})
        subprocess.run([sys.executable, *build], check=True, env=environment)
        (plain,) = (work / "linux").glob("*.whl")
        # Nothing links libgomp (docs/developers/wheels.md); if something ever does, it must not be bundled.
        repair = ["-m", "auditwheel", "repair", "--only-plat", "--exclude", "libgomp.so.1"]
        subprocess.run([sys.executable, *repair, "--wheel-dir", str(work / "dist"), str(plain)], check=True)
        (repaired,) = (work / "dist").glob("*.whl")
        contents = look_into(repaired, cuda=kind == "cuda")
        FOLDERS[kind].mkdir(parents=True, exist_ok=True)
        (FOLDERS[kind] / repaired.name).write_bytes(repaired.read_bytes())
        return contents


def main() -> None:
    """Build the wheel that the arguments specify, and describe it."""
    archive, kind = sys.argv[1:]
    begin = time.monotonic()
    print(build(Path(archive), kind))
    print(f"built in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()

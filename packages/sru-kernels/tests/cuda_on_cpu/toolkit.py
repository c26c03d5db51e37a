"""The CUDA toolkit of this machine, and the disassemblers from PyPI."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Toolkit:
    """The paths of nvcc, the assembler and CUDA's headers, and the linker options for its libraries."""

    nvcc: str
    ptxas: str
    include: tuple[str, ...]
    libraries: tuple[str, ...]

    def options(self) -> list[str]:
        """The g++ options for CUDA's headers."""
        return [word for folder in self.include for word in ("-isystem", folder)]


def find_toolkit() -> Toolkit | None:
    """Locate the toolkit by asking nvcc, from CUDACXX or PATH."""
    nvcc = shutil.which(os.environ.get("CUDACXX", "nvcc"))
    if nvcc is None:
        return None
    # nvcc may be a script that runs another nvcc; the commands of a dry run reveal its paths.
    plan = subprocess.run([nvcc, "--dryrun", "x.cu"], capture_output=True, text=True, check=False).stderr
    words = dict(re.findall(r"^#\$ (\w+)=(.*)$", plan, flags=re.MULTILINE))
    listed = shlex.split(words["INCLUDES"] + " " + words.get("SYSTEM_INCLUDES", ""))
    folders = [word.removeprefix("-I") for word in listed if word != "-isystem"]
    top = Path(words["TOP"])
    return Toolkit(nvcc, str(top / "bin/ptxas"), tuple(folders), tuple(shlex.split(words["LIBRARIES"])))


def find_tool(name: str) -> str:
    """The path of `cuobjdump` or `nvdisasm`, from its package on PyPI or from PATH."""
    for path in sorted(Path(sysconfig.get_path("purelib")).glob(f"nvidia/*/bin/{name}"), reverse=True):
        return str(path)
    if path := shutil.which(name):
        return path
    raise FileNotFoundError(f"{name} was not found; run `pip install nvidia-cuda-{name}`")

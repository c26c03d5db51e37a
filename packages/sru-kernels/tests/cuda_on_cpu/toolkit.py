"""The CUDA toolkit of this machine, and the disassembler that comes from PyPI."""

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
    """Where nvcc, the assembler, CUDA's headers and, as options of a linker, its libraries are."""

    nvcc: str
    ptxas: str
    include: tuple[str, ...]
    libraries: tuple[str, ...]

    def options(self) -> list[str]:
        """What makes g++ find CUDA's headers."""
        return [word for folder in self.include for word in ("-isystem", folder)]


def find_toolkit() -> Toolkit | None:
    """Ask nvcc, the one of the environment variable CUDACXX or of PATH, where its files are."""
    nvcc = shutil.which(os.environ.get("CUDACXX", "nvcc"))
    if nvcc is None:
        return None
    # nvcc may be a script that starts another; what it would run says where that one is.
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
    raise FileNotFoundError(f"{name} is not found; `pip install nvidia-cuda-{name}` has it")

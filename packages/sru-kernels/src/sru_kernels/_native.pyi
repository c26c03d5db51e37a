import enum
from typing import Any, TypedDict

__version__: str

class DType(enum.Enum):
    """How u, x, h and their gradients are stored.

    States and sums are float32, or float64 for float64: the accumulation dtype.
    """

    float32 = 0
    float64 = 1
    float16 = 2
    bfloat16 = 3

class Activation(enum.Enum):
    """What is applied to the state before the output gate."""

    identity = 0
    tanh = 1
    relu = 2

cpu: Any  # its functions are typed where they are public, in cpu.py

class BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    instruction_set: str
    openmp: int | None
    max_threads: int
    cuda: None

def build_info() -> BuildInfo:
    """Say what the extension was built with and found on this machine.

    Returns:
        `version` of this package; `compiler` name and version; `cxx_standard`, such as 17; `instruction_set`,
        what `sru_kernels.cpu.instruction_set` returns; `openmp`, the date of the OpenMP that the CPU kernels
        were built with, such as 201511, or None if they run on one thread; `max_threads`, how many threads
        OpenMP would start by itself; `cuda`, None because this version holds no CUDA kernels.

    Raises:
        ValueError: As `sru_kernels.cpu.instruction_set` does.
    """

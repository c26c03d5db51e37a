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

class _BuildInfo(TypedDict):
    version: str
    compiler: str
    cxx_standard: int
    instruction_set: str
    openmp: str | None
    max_threads: int

def build_info() -> _BuildInfo:
    """Say what this extension was built with and found here; `sru_kernels.build_info` adds the rest."""

import enum
from typing import Any

__version__: str

class DType(enum.Enum):
    """How inputs, outputs and their gradients are stored.

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

cpu: Any  # cpu.pyi types it
fields: dict[str, tuple[str, list[tuple[str, str, str, bool]]]]
"""By named tuple: the kernel, and (name, type, description, whether it has a default) for each field."""

def build_info() -> dict[str, Any]:
    """Say what this extension was built with and found here; `sru_kernels.build_info` adds the rest."""

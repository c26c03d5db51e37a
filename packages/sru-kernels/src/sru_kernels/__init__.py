"""Compiled kernels for simple recurrent units. This package never imports torch and needs no GPU.

`sru_kernels.cpu` holds the kernels; they take addresses and sizes and check nothing behind an address, so
call them through `sru_nn` unless you own the memory. `build_info()` says what the extension was built with;
`python -m sru_kernels` prints it.
"""

from . import cpu
from ._native import Activation, DType, __version__, build_info

__all__ = ["Activation", "DType", "__version__", "build_info", "cpu"]

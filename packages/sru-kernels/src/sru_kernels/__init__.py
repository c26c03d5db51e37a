"""Compiled kernels for recurrent networks. This package never imports torch and needs no GPU.

`sru_kernels.cpu` and `sru_kernels.cuda` hold the kernels; they take addresses and sizes (`SruForward`,
`GatedLinearForward` and the like) and check nothing behind an address, so call them through `sru_nn` unless
you own the memory.
`build_info()` says what the extension was built with; `python -m sru_kernels` prints it.
"""

from . import cpu, cuda
from ._build_info import BuildInfo, build_info
from ._native import Activation, DType, __version__
from .gated_linear import GatedLinearBackward, GatedLinearForward
from .sru import SruBackward, SruForward, SruStep

__all__ = [
    "Activation",
    "BuildInfo",
    "DType",
    "GatedLinearBackward",
    "GatedLinearForward",
    "SruBackward",
    "SruForward",
    "SruStep",
    "__version__",
    "build_info",
    "cpu",
    "cuda",
]

"""Compiled kernels for simple recurrent units. This package never imports torch and needs no GPU.

`build_info()` says what the extension was built with; `python -m sru_kernels` prints it.
"""

from ._native import build_info

__version__: str = build_info()["version"]

__all__ = ["__version__", "build_info"]

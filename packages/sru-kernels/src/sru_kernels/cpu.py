"""Kernels that run on the CPU: addresses in, results written through them, the GIL released.

Nothing behind an address is checked; `sru_kernels.sru` and `sru_kernels.gated_linear` say what must be there.
"""

from ._native.cpu import *  # noqa: F403

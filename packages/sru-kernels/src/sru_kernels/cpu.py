"""Kernels that run on the CPU: addresses in, results written through them, the GIL released.

Nothing behind an address is checked: the description of each field says what must be there.
"""

from ._native.cpu import *  # noqa: F403

"""Kernels that run on the CPU: addresses in, results written through them, the GIL released.

Nothing behind an address is checked: the description of each field says what must be there.

OpenMP's threads do not survive a fork. In a child of a process that had several threads the kernels therefore
run on the calling thread alone; start workers with `spawn` or `forkserver` to have threads there.
"""

from ._native.cpu import *  # noqa: F403

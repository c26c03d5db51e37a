"""Kernels that run on the CPU. They read and write memory at given addresses, and release the GIL.

The memory at an address is not checked; the description of each field specifies what it must hold.

OpenMP's threads do not survive a fork, so in a child forked from a process with several threads the kernels
run on the calling thread alone. To use threads in workers, start them with `spawn` or `forkserver`.
"""

from ._native.cpu import *  # noqa: F403
